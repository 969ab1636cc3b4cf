/**
 * What a search says beside its vectors and its filter. Clients say it in searchParams, in searchParams.params or in
 * the old top-level params, under the names of the wire: here it is one record, with typed reads.
 */
import { VdbError } from "../../../runtime/errors.ts";
import { isDescending, isMatching, type Metric } from "../../../runtime/schema.ts";

export type Settings = Readonly<Record<string, unknown>>;

const ROUND_DECIMAL_MAX = 6;

/** @throws VdbError invalid_parameter when a name is given twice with different values */
export function settingsOf(body: { searchParams?: Settings | undefined; params?: Settings | undefined }): Settings {
  const { params: inner, ...outer } = body.searchParams ?? {};
  const settings: Record<string, unknown> = {};
  for (const given of [body.params, outer, isRecord(inner) ? inner : undefined]) {
    for (const [name, value] of Object.entries(given ?? {})) {
      if (value === undefined || value === null) continue;
      const known = settings[name];
      if (known !== undefined && String(known) !== String(value)) {
        throw new VdbError(
          "invalid_parameter",
          `ambiguous parameter: ${name}, in search_param: ${String(known)}, in search_param.params: ${String(value)}`,
        );
      }
      settings[name] = value;
    }
  }
  return settings;
}

function isRecord(value: unknown): value is Settings {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** @throws VdbError invalid_parameter */
export function numberOf(settings: Settings, name: string): number | undefined {
  const given = settings[name];
  if (given === undefined) return undefined;
  const value = typeof given === "string" && given.trim() !== "" ? Number(given) : given;
  if (typeof value === "number" && Number.isFinite(value)) return value;
  throw new VdbError("invalid_parameter", `${name} [${String(given)}] is invalid, it should be a number`);
}

/** @throws VdbError invalid_parameter */
export function integerOf(settings: Settings, name: string): number | undefined {
  const value = numberOf(settings, name);
  if (value === undefined || Number.isSafeInteger(value)) return value;
  throw new VdbError("invalid_parameter", `${name} [${value}] is invalid, it should be an integer`);
}

/** Also as the texts that SDKs send. @throws VdbError invalid_parameter */
export function flagOf(settings: Settings, name: string): boolean {
  const given = settings[name];
  if (given === undefined || given === false) return false;
  if (given === true) return true;
  const text = typeof given === "string" ? given.toLowerCase() : "";
  if (text === "true") return true;
  if (text === "false") return false;
  throw new VdbError("invalid_parameter", `parse ${name} failed: ${String(given)} is not a boolean`);
}

/** @throws VdbError invalid_parameter when it is not the index's */
export function checkMetric(settings: Settings, metric: Metric): void {
  const given = settings.metricType ?? settings.metric_type;
  if (given === undefined || given === "" || given === metric) return;
  throw new VdbError(
    "invalid_parameter",
    `metric type not match: invalid parameter[expected=${metric}][actual=${String(given)}]`,
  );
}

export interface Range {
  radius?: number;
  rangeFilter?: number;
}

/** The band of distances to search in; empty: all. @throws VdbError invalid_parameter */
export function rangeOf(settings: Settings, metric: Metric): Range {
  const radius = numberOf(settings, "radius");
  const rangeFilter = numberOf(settings, "range_filter");
  if (radius === undefined && rangeFilter === undefined) return {};
  if (isMatching(metric)) {
    throw new VdbError("invalid_parameter", `metric type ${metric} has no distances: range search is not supported`);
  }
  if (radius === undefined) {
    throw new VdbError("invalid_parameter", "range_filter is given without radius: a range search needs radius");
  }
  if (rangeFilter === undefined) return { radius };
  if (isDescending(metric) ? rangeFilter > radius : rangeFilter < radius) return { radius, rangeFilter };
  const side = isDescending(metric) ? "greater than radius for IP/COSINE" : "less than radius for L2/HAMMING/JACCARD";
  throw new VdbError(
    "invalid_parameter",
    `range_filter must be ${side}, range_filter:${rangeFilter}, radius:${radius}`,
  );
}

/** -1: as they are. @throws VdbError invalid_parameter */
export function roundDecimalOf(settings: Settings): number {
  const given = settings.round_decimal ?? settings.roundDecimal;
  if (given === undefined) return -1;
  const digits = typeof given === "string" && given.trim() !== "" ? Number(given) : given;
  if (digits === -1) return -1;
  if (Number.isInteger(digits) && (digits as number) >= 0 && (digits as number) <= ROUND_DECIMAL_MAX) {
    return digits as number;
  }
  throw new VdbError(
    "invalid_parameter",
    `round_decimal [${String(given)}] is invalid, should be -1 or an integer in range [0, ${ROUND_DECIMAL_MAX}]`,
  );
}

export function rounded(score: number, digits: number): number {
  if (digits < 0) return score;
  const scale = 10 ** digits;
  return Math.floor(score * scale + 0.5) / scale;
}
