/**
 * Answers leaves of a filter without reading the rows: from what is known of all of them (verdict.ts), from the index of keys,
 * or from a scalar index. The answer is the one that reading the rows would give, for every row.
 */
import { type BoxesOf, itemTests, type TypedNode, testView } from "../expr/evaluate.ts";
import type { JsonNode } from "../expr/json-rows.ts";
import { matchesSteps, patternOf, stepsOf } from "../expr/like.ts";
import type { FilterPlan, IndexHint } from "../expr/plan.ts";
import type {
  ColumnOperand,
  CompareNode,
  ContainsNode,
  InNode,
  JsonOperand,
  LikeNode,
  PlanNode,
} from "../expr/plan-node.ts";
import { knownRows, nullRows } from "../expr/row-view.ts";
import { orderBytes } from "../expr/text-rows.ts";
import { constantTruth, knownTruth, notTruth, type Truth } from "../expr/truth.ts";
import { type Bitset, bitsetRows, countBits, fullBitset, hasBit, newBitset, setBit } from "../segment/bitset.ts";
import type { BytesColumn } from "../segment/column.ts";
import type { Chunk, Segment } from "../segment/segment.ts";
import type { ValueIndex } from "./chunk-index.ts";
import { type GramIndex, gramCandidates } from "./gram-index.ts";
import { targetKey, targetOf } from "./hints.ts";
import { testPath } from "./path-index.ts";
import { cacheOf } from "./segment-cache.ts";
import { chunkRowsOfKeys, verdictOf } from "./verdict.ts";

/** With more keys than one for each so many values, testing the values one by one is quicker. */
const KEYS_SEARCHED_PART = 16;

/** With fewer candidates than one for each so many rows, the grams save reading the others. */
const CANDIDATES_PART = 4;

/** Bytes of candidates' texts read in one turn: more are read in several. */
const CANDIDATES_BYTES_MAX = 1 << 20;

/** Undefined if the rows must be read. */
export type Answer = (node: PlanNode) => Truth | undefined;

/** What is known of a chunk without reading its rows; prepareChunk has built what can be built. */
export function answersOf(segment: Segment, chunk: Chunk, filter: FilterPlan): Answer {
  const cache = cacheOf(segment);
  const hints: readonly IndexHint[] = cache.mayTake === null ? [] : (filter.indexes ?? []);
  return (node) => {
    const known = answerFromVerdict(segment, chunk, node) ?? answerFromKeys(segment, chunk, node);
    if (known !== undefined) return known;
    const target = hints.length === 0 ? undefined : targetOf(node, hints);
    if (target === undefined) return undefined;
    const index = cache.index(chunk.firstRow >>> 13, targetKey(target));
    if (index === undefined || index === null) return undefined;
    const { rowCount } = chunk.batch;
    switch (index.kind) {
      case "values":
        return answerFromValues(index, node as TypedNode | ContainsNode, rowCount);
      case "grams":
        return answerFromGrams(index, node as LikeNode, chunk);
      case "boxes":
        return undefined;
      case "path": {
        const { operand } = node as JsonNode;
        return testPath(index, node as JsonNode, operand as JsonOperand, rowCount);
      }
    }
  };
}

/** The indexed boxes of a chunk's geometry fields. */
export function boxesOf(segment: Segment, chunk: Chunk): BoxesOf {
  const cache = cacheOf(segment);
  return (fieldId) => {
    const index = cache.index(chunk.firstRow >>> 13, targetKey({ kind: "boxes", fieldId }));
    return index?.kind === "boxes" ? index.tree : undefined;
  };
}

function answerFromVerdict(segment: Segment, chunk: Chunk, node: PlanNode): Truth | undefined {
  const verdict = verdictOf(segment, chunk, node);
  if (verdict === undefined) return undefined;
  const { columns, rowCount } = chunk.batch;
  const column = columns[((node as TypedNode).operand as ColumnOperand).fieldId]!;
  return knownTruth(constantTruth(verdict, rowCount).isTrue, nullRows(column, rowCount));
}

/** Every row has a key. */
function answerFromKeys(segment: Segment, chunk: Chunk, node: PlanNode): Truth | undefined {
  const rows = chunkRowsOfKeys(segment, chunk, node);
  if (rows === undefined) return undefined;
  const { rowCount } = chunk.batch;
  const isTrue = newBitset(rowCount);
  for (const row of rows) if (row - chunk.firstRow < rowCount) setBit(isTrue, row - chunk.firstRow);
  const truth: Truth = { isTrue, unknown: undefined };
  return node.op === "compare" && node.comparison === "!=" ? notTruth(truth, rowCount) : truth;
}

function answerFromValues(index: ValueIndex, node: TypedNode | ContainsNode, rowCount: number): Truth | undefined {
  if (node.op !== "contains") return knownTruth(rowsOfTest(index, node, rowCount), index.unknown);
  const isAll = node.mode === "all";
  const result = isAll ? fullBitset(rowCount) : newBitset(rowCount);
  for (const test of itemTests(node)) {
    const found = rowsOfTest(index, test, rowCount);
    for (let w = 0; w < result.length; w++) result[w] = isAll ? result[w]! & found[w]! : result[w]! | found[w]!;
  }
  return knownTruth(result, index.unknown);
}

/** Rows with a value that passes the test. */
function rowsOfTest(index: ValueIndex, node: TypedNode, rowCount: number): Bitset {
  const bits = newBitset(rowCount);
  const { starts, rows } = index;
  const ranges = rangesOf(index, node);
  if (ranges !== undefined) {
    for (const [from, to] of ranges) {
      if (to > from) for (let i = starts[from]!; i < starts[to]!; i++) setBit(bits, rows[i]!);
    }
    return bits;
  }
  const passing = testView(node, node.operand.type, index.values, fullBitset(index.count), index.count);
  for (let value = 0; value < index.count; value++) {
    if (!hasBit(passing, value)) continue;
    for (let i = starts[value]!; i < starts[value + 1]!; i++) setBit(bits, rows[i]!);
  }
  return bits;
}

type Range = [from: number, to: number];

/** The values that pass, if their order tells. */
function rangesOf(index: ValueIndex, node: TypedNode): Range[] | undefined {
  const { count } = index;
  switch (node.op) {
    case "compare":
      return rangesOfComparison(index, node);
    case "in": {
      if (node.values.length * KEYS_SEARCHED_PART > count) return undefined;
      const ranges = node.values.map((value) => equalRange(index, value));
      return ranges.every((range) => range !== undefined) ? ranges : undefined;
    }
    case "like": {
      const pattern = patternOf(node);
      if (pattern.kind === "all") return [[0, count]];
      if (pattern.kind !== "prefix" && pattern.kind !== "equal") return undefined;
      const { bytes } = pattern;
      const from = firstText(index, bytes, false);
      if (pattern.kind === "equal") return [[from, firstText(index, bytes, true)]];
      return [[from, firstText(index, bytes, true, true)]];
    }
  }
}

function rangesOfComparison(index: ValueIndex, node: CompareNode): Range[] | undefined {
  if (node.arithmetic !== undefined || node.interval !== undefined) return undefined;
  const equal = equalRange(index, node.value as InNode["values"][number]);
  if (equal === undefined) return undefined;
  const [lower, upper] = equal;
  switch (node.comparison) {
    case "==":
      return [equal];
    case "!=":
      return [
        [0, lower],
        [upper, index.count],
      ];
    case "<":
      return [[0, lower]];
    case "<=":
      return [[0, upper]];
    case ">":
      return [[upper, index.count]];
    case ">=":
      return [[lower, index.count]];
  }
}

/** Values equal to the constant: none or one. Undefined for integers that doubles cannot hold. */
function equalRange(index: ValueIndex, value: InNode["values"][number]): Range | undefined {
  if (index.values.kind === "text") {
    const bytes = new TextEncoder().encode(String(value));
    return [firstText(index, bytes, false), firstText(index, bytes, true)];
  }
  const constant = Number(value);
  if (index.values.pairs !== undefined && !Number.isSafeInteger(constant)) return undefined;
  return [firstNumber(index.values.values, constant, false), firstNumber(index.values.values, constant, true)];
}

/** How many ascending values are less than the constant (or equal to it). */
function firstNumber(values: Float64Array, constant: number, isAfterEqual: boolean): number {
  let low = 0;
  let high = values.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    const value = values[middle]!;
    if (value < constant || (isAfterEqual && value === constant)) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** How many texts come before the constant; or up to it; or up to the last one that begins with it. */
function firstText(
  { values, count }: ValueIndex,
  constant: Uint8Array,
  isAfterEqual: boolean,
  isPrefix = false,
): number {
  if (values.kind !== "text") throw new Error("an index of numbers is asked for a text");
  const { offsets, bytes } = values;
  let low = 0;
  let high = count;
  while (low < high) {
    const middle = (low + high) >>> 1;
    const start = offsets[middle]!;
    const end = isPrefix ? Math.min(offsets[middle + 1]!, start + constant.length) : offsets[middle + 1]!;
    const order = orderBytes(bytes, start, end, constant, 0, constant.length);
    if (order < 0 || (isAfterEqual && order === 0)) low = middle + 1;
    else high = middle;
  }
  return low;
}

function answerFromGrams(index: GramIndex, node: LikeNode, { batch }: Chunk): Truth | undefined {
  const { rowCount } = batch;
  const maybe = gramCandidates(index, node.pattern, rowCount);
  if (maybe === undefined) return undefined;
  const candidates = knownRows(index.unknown, maybe);
  // A plain search through all bytes is quick: with many candidates, looking at each does not pay.
  if (countBits(candidates) * CANDIDATES_PART > rowCount) return undefined;
  const { offsets, bytes } = batch.columns[index.fieldId] as BytesColumn;
  if (bytesOfRows(offsets, candidates) > CANDIDATES_BYTES_MAX) return undefined;
  const steps = Uint16Array.from(stepsOf(node.pattern));
  const bits = newBitset(rowCount);
  for (let w = 0; w < bits.length; w++) {
    for (let open = candidates[w]!; open !== 0; open &= open - 1) {
      const row = (w << 5) + 31 - Math.clz32(open & -open);
      if (matchesSteps(steps, bytes, offsets[row]!, offsets[row + 1]!)) setBit(bits, row);
    }
  }
  return knownTruth(bits, index.unknown);
}

function bytesOfRows(offsets: Uint32Array, rows: Bitset): number {
  let sum = 0;
  for (const row of bitsetRows(rows)) sum += offsets[row + 1]! - offsets[row]!;
  return sum;
}
