/**
 * Boosting: changes the scores of a segment's best rows by their contents, before they compete with those of other segments.
 * The candidates are the rows that the search found by their vectors alone.
 */
import { evaluateFilter, evaluateLongFilter, isLong } from "../expr/evaluate.ts";
import type { FilterPlan } from "../expr/plan.ts";
import type { Boost, SearchHits } from "../protocol/values.ts";
import { isDescending, type Metric } from "../schema.ts";
import { type Bitset, hasBit } from "../segment/bitset.ts";
import type { ColumnBatch } from "../segment/column.ts";
import { compareKeys, hashKey, type KeyColumn, keyAt, mix32 } from "../segment/keys.ts";
import type { Segment } from "../segment/segment.ts";
import type { Work } from "../turns.ts";
import { rowsOfSegment } from "./query-segment.ts";
import { pickHits } from "./reduce.ts";

export async function boostedHits(
  segment: Segment,
  hits: SearchHits,
  boost: Boost,
  metric: Metric,
  work: Work,
): Promise<SearchHits> {
  const factors = await factorsOf(segment, hits, boost, work);
  const scores = hits.distances.map((distance, i) => {
    const factor = factors[i]!;
    if (Number.isNaN(factor)) return distance;
    return boost.boostMode === "sum" ? distance + factor : distance * factor;
  });
  return inOrderOf(hits, scores, isDescending(metric));
}

/** Hits with other scores, each query's best first, equal ones by ascending key. */
export function inOrderOf(hits: SearchHits, scores: Float32Array, descending: boolean): SearchHits {
  const sign = descending ? -1 : 1;
  const order = new Uint32Array(scores.length);
  let start = 0;
  for (const count of hits.counts) {
    const places = Array.from({ length: count }, (_, i) => start + i);
    places.sort((a, b) => sign * (scores[a]! - scores[b]!) || compareKeys(keyAt(hits.keys, a), keyAt(hits.keys, b)));
    order.set(places, start);
    start += count;
  }
  const sources = new Uint32Array(order.length);
  return pickHits([{ ...hits, distances: scores }], hits.counts, { sources, rows: order });
}

/** The combined result of the functions for each hit; NaN if none applies. */
async function factorsOf(
  segment: Segment,
  { refs, keys }: SearchHits,
  { functions, functionMode }: Boost,
  work: Work,
): Promise<Float64Array> {
  const factors = new Float64Array(refs.row.length).fill(Number.NaN);
  for (const { filter, weight, random } of functions) {
    const fieldIds = random?.fieldId === undefined ? [] : [random.fieldId];
    const batch = rowsOfSegment(segment, refs.row, [...new Set([...(filter?.fieldIds ?? []), ...fieldIds])]);
    const applies = filter === null ? null : await matching(filter, batch, work);
    const draw = random === undefined ? () => 1 : randomOf(batch, random, keys);
    for (let i = 0; i < factors.length; i++) {
      if (applies !== null && !hasBit(applies, i)) continue;
      const factor = weight * draw(i);
      const before = factors[i]!;
      if (Number.isNaN(before)) factors[i] = factor;
      else factors[i] = functionMode === "sum" ? before + factor : before * factor;
    }
  }
  return factors;
}

async function matching(filter: FilterPlan, batch: ColumnBatch, work: Work): Promise<Bitset> {
  return isLong(filter, batch) ? evaluateLongFilter(filter, batch, {}, work) : evaluateFilter(filter, batch);
}

/** A number in [0, 1) for each hit, the same wherever and whenever the row is found. */
function randomOf(
  { columns }: ColumnBatch,
  { seed, fieldId }: { seed: number; fieldId?: number | undefined },
  keys: KeyColumn,
): (row: number) => number {
  const column = fieldId === undefined ? keys : columns[fieldId];
  const hashed = hashable(column) ?? keys;
  return (row) => mixed(hashKey(hashed, row), seed) / 2 ** 32;
}

function hashable(column: ColumnBatch["columns"][number] | undefined): KeyColumn | undefined {
  if (column?.kind === "int64" || column?.kind === "varchar") return column;
  if (column?.kind !== "int8" && column?.kind !== "int16" && column?.kind !== "int32") return undefined;
  return { kind: "int64", values: BigInt64Array.from(column.values, BigInt) };
}

/** Combines both numbers. */
function mixed(hash: number, seed: number): number {
  return mix32(hash ^ Math.imul(seed | 0, 0x9e3779b1));
}
