/** Builds, in turns, what a filter can use of a chunk before it is evaluated: tokens of its texts, scalar indexes. */
import type { Clock } from "../clock.ts";
import { prepareMatch } from "../expr/match-rows.ts";
import type { FilterPlan, IndexHint } from "../expr/plan.ts";
import type { JsonOperand, MatchNode, PlanNode } from "../expr/plan-node.ts";
import { extendTokens, keptTokens, pieceEnd } from "../expr/token-column.ts";
import { newBoxTree } from "../geo/box-tree.ts";
import type { BytesColumn } from "../segment/column.ts";
import type { Chunk, Segment } from "../segment/segment.ts";
import { takeTurn } from "../turns.ts";
import { type BoxIndex, type ChunkIndex, newValueIndex } from "./chunk-index.ts";
import { newGramIndex } from "./gram-index.ts";
import { type IndexTarget, targetKey, targetsOf } from "./hints.ts";
import { PathIndexBuilder } from "./path-index.ts";
import { cacheOf, type SegmentCache } from "./segment-cache.ts";

/** Documents read in one turn: some hundred microseconds. */
const PIECE_DOCUMENTS = 256;

/** Longest path that is indexed; no application has longer ones. */
const KEY_CHARS_MAX = 1_024;

interface Needs {
  matches: MatchNode[];
  targets: Map<string, IndexTarget>;
}

/** A plan is evaluated on many chunks. */
const needs = new WeakMap<FilterPlan, Needs>();

/** @throws VdbError corrupt when a JSON column holds what is not JSON */
export async function prepareChunk(segment: Segment, chunk: Chunk, filter: FilterPlan, clock: Clock): Promise<void> {
  let needed = needs.get(filter);
  if (needed === undefined) {
    needed = { matches: [], targets: targetsOf(filter.root, filter.indexes ?? []) };
    collectMatches(filter.root, needed.matches);
    needs.set(filter, needed);
  }
  const { matches, targets } = needed;
  if (matches.length === 0 && targets.size === 0) return;
  const cache = cacheOf(segment);
  for (const match of matches) await prepareTokens(cache, chunk, match, clock);
  if (cache.mayTake === null) return;
  for (const [key, target] of targets)
    if (key.length <= KEY_CHARS_MAX) await prepareIndex(cache, chunk, key, target, clock);
}

/** Builds the indexes of a whole segment that the hints name, as far as there is room, except paths that no filter has named yet. */
export async function prepareSegment(segment: Segment, hints: readonly IndexHint[], clock: Clock): Promise<void> {
  const cache = cacheOf(segment);
  if (cache.mayTake === null) return;
  for (const hint of hints) {
    const target = targetOfHint(hint);
    if (target === undefined) continue;
    for (const chunk of segment.chunks) await prepareIndex(cache, chunk, targetKey(target), target, clock);
  }
}

function targetOfHint({ fieldId, path, isFlat, gram, hasBoxes }: IndexHint): IndexTarget | undefined {
  if (hasBoxes === true) return { kind: "boxes", fieldId };
  if (isFlat === true) return undefined;
  if (gram !== undefined) return { kind: "grams", fieldId, gram };
  if (path === undefined) return { kind: "values", fieldId };
  // It may be a key or a position: the first filter shows which.
  if (path.some((part) => /^\d+$/.test(String(part)))) return undefined;
  const operand: JsonOperand = { from: "json", fieldId, path, isDynamic: false };
  return { kind: "path", fieldId, operand };
}

function collectMatches(node: PlanNode, into: MatchNode[]): void {
  if (node.op === "and" || node.op === "or") for (const item of node.items) collectMatches(item, into);
  else if (node.op === "not") collectMatches(node.item, into);
  else if (node.op === "match") into.push(node);
}

async function prepareTokens(cache: SegmentCache, chunk: Chunk, match: MatchNode, clock: Clock): Promise<void> {
  const { operand, analyzerParams } = match;
  const { rowCount, columns } = chunk.batch;
  const column = columns[operand.fieldId] as BytesColumn | undefined;
  if (column === undefined) return;
  const kept = keptTokens(column, analyzerParams, rowCount);
  if (kept !== undefined) return prepareMatch(match, kept, rowCount, clock);
  const tokens = cache.tokens(chunk.firstRow >>> 13, operand.fieldId, column, analyzerParams);
  // Another reader may add rows while this one waits for its turn: rows are never added twice.
  while (tokens.rowCount < rowCount) {
    await takeTurn(clock);
    extendTokens(tokens, column, analyzerParams, pieceEnd(column, tokens.rowCount, rowCount));
  }
  await prepareMatch(match, tokens, rowCount, clock);
}

async function prepareIndex(
  cache: SegmentCache,
  chunk: Chunk,
  key: string,
  target: IndexTarget,
  clock: Clock,
): Promise<void> {
  const at = chunk.firstRow >>> 13;
  if (cache.index(at, key) !== undefined) return;
  const index = await newIndex(chunk, target, clock);
  // Two readers may both have built it: the second replaces the first.
  const hasRoom = index !== null && cache.mayTake!(index.bytes);
  cache.keepIndex(at, key, hasRoom ? index : null);
}

async function newIndex({ batch }: Chunk, target: IndexTarget, clock: Clock): Promise<ChunkIndex | null> {
  const column = batch.columns[target.fieldId];
  if (column === undefined) return null;
  await takeTurn(clock);
  switch (target.kind) {
    case "values":
      return newValueIndex(column, batch.rowCount);
    case "grams":
      return newGramIndex(
        target.fieldId,
        column as BytesColumn,
        { rowCount: batch.rowCount, gram: target.gram },
        clock,
      );
    case "boxes":
      return newBoxIndex(column as BytesColumn, batch.rowCount, clock);
    case "path": {
      const builder = new PathIndexBuilder(column as BytesColumn, batch.rowCount, target.operand);
      while (builder.rowCount < batch.rowCount) {
        await takeTurn(clock);
        builder.read(builder.rowCount + PIECE_DOCUMENTS);
      }
      return builder.finish();
    }
  }
}

async function newBoxIndex(column: BytesColumn, rowCount: number, clock: Clock): Promise<BoxIndex> {
  const tree = await newBoxTree(column, rowCount, clock);
  return { kind: "boxes", tree, bytes: tree.bytes };
}
