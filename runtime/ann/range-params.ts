/** `radius` and `range_filter` of a search: the band of distances that it asks for. */
import { VdbError } from "../errors.ts";
import { isDescending, type Metric } from "../schema.ts";

/** In the sense in which the metric is reported; see distance-range.ts. */
export interface SearchRange {
  radius?: number;
  rangeFilter?: number;
}

/**
 * A radius alone is a range; a range_filter is the near side of one, and without a radius nothing.
 * @throws VdbError invalid_parameter: no number; a near side beyond the far one
 */
export function checkRange(params: Readonly<Record<string, unknown>>, metric: Metric): SearchRange {
  const radius = numberIn(params, "radius");
  if (radius === undefined) return {};
  const rangeFilter = numberIn(params, "range_filter");
  if (rangeFilter === undefined) return { radius };
  const given = `range_filter:${rangeFilter}, radius:${radius}`;
  if (isDescending(metric) && rangeFilter <= radius) {
    throw refused(`range_filter must be greater than radius for IP/COSINE, ${given}`);
  }
  if (!isDescending(metric) && rangeFilter >= radius) {
    throw refused(`range_filter must be less than radius for L2/HAMMING/JACCARD, ${given}`);
  }
  return { radius, rangeFilter };
}

function numberIn(params: Readonly<Record<string, unknown>>, name: string): number | undefined {
  const given = params[name];
  if (given === undefined) return undefined;
  if (given === null) throw refused(`pass invalid type for ${name}`);
  if (typeof given === "number" && Number.isFinite(given)) return given;
  throw refused(`must pass numpy type for ${name}, got ${JSON.stringify(given)}`);
}

function refused(message: string): VdbError {
  return new VdbError("invalid_parameter", message);
}
