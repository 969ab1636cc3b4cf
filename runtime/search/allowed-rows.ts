/**
 * The rows of a segment that a read may return: visible at its timestamp, and matching its filter.
 *
 * A chunk's columns never change, so neither does a filter's answer for them: the newest filters' answers are kept with
 * the chunk, since applications ask the same few filters over and over. A growing chunk becomes a new one with every
 * append.
 */
import { evaluateFilter, evaluateLongFilter, isLong } from "../expr/evaluate.ts";
import type { FilterPlan } from "../expr/plan.ts";
import type { PlanNode } from "../expr/plan-node.ts";
import { encode } from "../protocol/codec.ts";
import { answersOf, boxesOf } from "../scalar-index/answer.ts";
import { prepareChunk } from "../scalar-index/prepare.ts";
import { cacheOf } from "../scalar-index/segment-cache.ts";
import { mayMatchChunk, prepareVerdicts } from "../scalar-index/verdict.ts";
import type { Bitset } from "../segment/bitset.ts";
import type { Chunk, Segment, Snapshot } from "../segment/segment.ts";
import { takeTurn, takeTurnFor, type Work } from "../turns.ts";
import { sampleRows } from "./sample-rows.ts";

/** Answers kept per chunk: 16 KiB at 1 KiB each. */
const FILTERS_KEPT = 16;

/** Longest plan whose answer is kept: longer ones (lists of keys) seldom come twice. */
const PLAN_BYTES_MAX = 2_048;

const answers = new WeakMap<Chunk, Map<string, Bitset>>();
const planKeys = new WeakMap<FilterPlan, string>();

/**
 * The rows of a long filter, whose evaluation took several turns, kept until every caller that prepared them has taken them:
 * other filters that are evaluated over the same chunk meanwhile may displace kept answers.
 */
const evaluated = new WeakMap<FilterPlan, Map<Chunk, { rows: Bitset; readers: number }>>();

/**
 * Takes a turn and does the long work for a filter on a chunk in turns, so that allowedRows is quick. False when it is known
 * already that no row of the chunk matches: then allowedRows need not be called.
 * @throws VdbError as takeTurnFor, and as evaluateLongFilter
 */
export async function prepareRows(segment: Segment, chunk: Chunk, filter: FilterPlan, work: Work): Promise<boolean> {
  await takeTurnFor(work);
  const { clock } = work;
  const { tally } = cacheOf(segment);
  const isLongWork = isLong(filter, chunk.batch);
  const key = planKey(filter);
  let rows = key === "" ? undefined : answers.get(chunk)?.get(key);
  if (rows === undefined) {
    await prepareVerdicts(segment, chunk, filter, clock);
    if (!mayMatchChunk(segment, chunk, filter)) {
      tally.chunksSkipped++;
      return false;
    }
    await prepareChunk(segment, chunk, filter, clock);
    if (isLongWork) {
      const known = { answer: answersOf(segment, chunk, filter), boxesOf: boxesOf(segment, chunk) };
      rows = await evaluateLongFilter(filter, chunk.batch, known, work);
    }
  }
  if (rows !== undefined && isLongWork) holdRows(filter, chunk, rows);
  tally.chunksRead++;
  await takeTurn(clock);
  return true;
}

function holdRows(filter: FilterPlan, chunk: Chunk, rows: Bitset): void {
  const held = evaluated.get(filter) ?? new Map<Chunk, { rows: Bitset; readers: number }>();
  evaluated.set(filter, held);
  held.set(chunk, { rows, readers: (held.get(chunk)?.readers ?? 0) + 1 });
}

function takeRows(filter: FilterPlan, chunk: Chunk): Bitset | undefined {
  const held = evaluated.get(filter);
  const found = held?.get(chunk);
  if (found !== undefined && --found.readers === 0) held!.delete(chunk);
  return found?.rows;
}

/** Rows of one chunk; null: all of them. Shared: not to be changed. */
export function allowedRows(
  segment: Segment,
  chunk: Chunk,
  snapshot: Snapshot,
  filter: FilterPlan | null,
): Bitset | null {
  const visible = segment.visible(chunk, snapshot);
  if (filter === null) return visible;
  const matching = matchingRows(segment, chunk, filter);
  const sampled = filter.sample === undefined ? matching : sampleRows(matching, segment, chunk.firstRow, filter.sample);
  if (visible === null) return sampled;
  for (let i = 0; i < visible.length; i++) visible[i] = visible[i]! & sampled[i]!;
  return visible;
}

function matchingRows(segment: Segment, chunk: Chunk, filter: FilterPlan): Bitset {
  const prepared = takeRows(filter, chunk);
  const evaluate = () => prepared ?? evaluateFilter(filter, chunk.batch, answersOf(segment, chunk, filter));
  const key = planKey(filter);
  if (key === "") return evaluate();
  let kept = answers.get(chunk);
  if (kept === undefined) {
    kept = new Map();
    answers.set(chunk, kept);
  }
  let rows = kept.get(key);
  if (rows === undefined) rows = evaluate();
  else kept.delete(key);
  // Moved to the end: a Map's first key is then the one requested longest ago.
  kept.set(key, rows);
  if (kept.size > FILTERS_KEPT) kept.delete(kept.keys().next().value!);
  return rows;
}

/** The same plan has the same key, also after crossing the wire; the key excludes its sample. Empty: not worth keeping. */
export function planKey(filter: FilterPlan): string {
  let key = planKeys.get(filter);
  if (key === undefined) {
    key = hasLongList(filter.root) ? "" : keyOf(encode(filter.root));
    planKeys.set(filter, key);
  }
  return key;
}

function keyOf(bytes: Uint8Array): string {
  if (bytes.length > PLAN_BYTES_MAX) return "";
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString("latin1");
}

/** It has more values than the key may have bytes, so it is known to be too long without being written. */
function hasLongList(node: PlanNode): boolean {
  if (node.op === "and" || node.op === "or") return node.items.length > PLAN_BYTES_MAX || node.items.some(hasLongList);
  if (node.op === "not") return hasLongList(node.item);
  return "values" in node && node.values.length > PLAN_BYTES_MAX;
}
