/**
 * Which rows of a segment a read may return: visible at its timestamp, and matching its filter.
 *
 * A chunk's columns never change, so neither does what a filter says of them: the newest filters' answers are kept with
 * the chunk. Applications ask the same few filters over and over; a growing chunk becomes a new one with every append.
 */
import { evaluateFilter } from "../expr/evaluate.ts";
import type { FilterPlan } from "../expr/plan.ts";
import { encode } from "../protocol/codec.ts";
import type { Bitset } from "../segment/bitset.ts";
import type { Chunk, Segment, Snapshot } from "../segment/segment.ts";

/** Answers kept a chunk: 16 KiB at 1 KiB each. */
const FILTERS_KEPT = 16;

/** Plans longer than this (lists of keys) seldom come twice. */
const PLAN_BYTES_MAX = 2_048;

const answers = new WeakMap<Chunk, Map<string, Bitset>>();
const planKeys = new WeakMap<FilterPlan, string>();

/** Rows of one chunk; null: all of them. Shared: not to be changed. */
export function allowedRows(
  segment: Segment,
  chunk: Chunk,
  snapshot: Snapshot,
  filter: FilterPlan | null,
): Bitset | null {
  const visible = segment.visible(chunk, snapshot);
  if (filter === null) return visible;
  const matching = matchingRows(chunk, filter);
  if (visible === null) return matching;
  for (let i = 0; i < visible.length; i++) visible[i] = visible[i]! & matching[i]!;
  return visible;
}

function matchingRows(chunk: Chunk, filter: FilterPlan): Bitset {
  const key = planKey(filter);
  if (key === "") return evaluateFilter(filter, chunk.batch);
  let kept = answers.get(chunk);
  if (kept === undefined) {
    kept = new Map();
    answers.set(chunk, kept);
  }
  let rows = kept.get(key);
  if (rows === undefined) rows = evaluateFilter(filter, chunk.batch);
  else kept.delete(key);
  // Put last: a Map's first key is the one that was not asked for longest.
  kept.set(key, rows);
  if (kept.size > FILTERS_KEPT) kept.delete(kept.keys().next().value!);
  return rows;
}

/** The same plan gives the same key, also when it has crossed the wire. Empty: not worth keeping. */
function planKey(filter: FilterPlan): string {
  let key = planKeys.get(filter);
  if (key === undefined) {
    const bytes = encode(filter.root);
    key =
      bytes.length > PLAN_BYTES_MAX ? "" : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString("latin1");
    planKeys.set(filter, key);
  }
  return key;
}
