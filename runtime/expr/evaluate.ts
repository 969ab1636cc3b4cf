/**
 * A filter plan over one chunk of rows: each node computes the rows for which it is TRUE and those for which it is UNKNOWN, as
 * bitsets, and AND, OR and NOT combine them. AND and OR ask each item only about the rows that are still undecided, which
 * spares the expensive items (strings, JSON) most rows.
 *
 * A column that the batch does not have was added to the collection after the batch: its rows hold the default, or null.
 */

import type { BoxTree } from "../geo/box-tree.ts";
import { testGeometries } from "../geo/test-rows.ts";
import type { Scalar } from "../schema.ts";
import { type Bitset, bitsetRows, fullBitset, newBitset, setBit } from "../segment/bitset.ts";
import type { ArrayColumn, BytesColumn, Column, ColumnBatch, ScalarColumn } from "../segment/column.ts";
import { takeTurnFor, type Work } from "../turns.ts";
import { FLIPPED } from "./ast.ts";
import { compileOnce } from "./compile-once.ts";
import { rowsHolding, wantedItems } from "./contains-rows.ts";
import { groupReader } from "./group-values.ts";
import { compareInt64 } from "./int64-rows.ts";
import { type Documents, type JsonNode, newDocuments, testJson, testMissing } from "./json-rows.ts";
import { newKeySet, newTextSet, pairsOfConstants } from "./key-set.ts";
import { patternOf } from "./like.ts";
import { matchTokens } from "./match-rows.ts";
import {
  compareArithmetic,
  compareInt64Columns,
  compareMoved,
  compareNumberColumns,
  compareNumbers,
  numbersIn,
} from "./number-rows.ts";
import type { FilterPlan } from "./plan.ts";
import type {
  ArrayEqualsNode,
  ColumnOperand,
  CompareColumnsNode,
  CompareNode,
  ContainsNode,
  GeometryNode,
  InGroupsNode,
  InNode,
  JsonOperand,
  LikeNode,
  MatchNode,
  PlanNode,
  TypedOperand,
  ValueType,
} from "./plan-node.ts";
import {
  keyPairs,
  knownRows,
  type NumberView,
  nullRows,
  type RowView,
  type TextView,
  viewColumn,
  viewElement,
  viewLengths,
} from "./row-view.ts";
import { hasWindows, rowWindows } from "./row-windows.ts";
import { compareTextColumns, compareTexts, likeTexts, textsIn } from "./text-rows.ts";
import { tokensOf } from "./token-column.ts";
import {
  andTruth,
  constantTruth,
  isEmpty,
  knownTruth,
  notFalse,
  notTrue,
  notTruth,
  orTruth,
  type Truth,
  unknownTruth,
} from "./truth.ts";

/** State of one evaluation, shared by clauses over the same field. */
interface Chunk {
  batch: ColumnBatch;
  rowCount: number;
  views: Map<number, RowView>;
  /** Elements of array fields. */
  items: Map<number, RowView>;
  documents: Map<number, Documents>;
  answer: Answer | undefined;
  boxesOf: BoxesOf | undefined;
}

/** The result of a part of the plan for all rows, if it is known without reading them; undefined: they must be read. */
type Answer = (node: PlanNode) => Truth | undefined;

/** The bounding boxes of a geometry field's rows, if they are indexed. */
export type BoxesOf = (fieldId: number) => BoxTree | undefined;

export type TypedNode = (CompareNode | InNode | LikeNode) & { operand: TypedOperand };

/**
 * Rows of the batch for which the filter is TRUE. The batch is borrowed; the bitset belongs to the caller. Not for plans that
 * take several turns.
 * @throws VdbError corrupt when a JSON column holds what is not JSON
 */
export function evaluateFilter(plan: FilterPlan, batch: ColumnBatch, answer?: Answer): Bitset {
  const chunk = newChunk(batch, answer);
  return evaluate(chunk, plan.root, fullBitset(batch.rowCount)).isTrue;
}

/** How many leaves of a plan are evaluated in one turn; a geometry leaf takes its own turns. */
const LEAVES_A_TURN = 64;

/** Whether evaluating a plan over the rows takes several turns. */
export function isLong(plan: FilterPlan, batch: ColumnBatch): boolean {
  return hasManyLeaves(plan).isTrue || hasWindows(plan, batch);
}

const hasManyLeaves = compileOnce(({ root }: FilterPlan) => ({ isTrue: leavesOf(root) > LEAVES_A_TURN }));

/**
 * Like evaluateFilter, in turns.
 * @throws VdbError also invalid_parameter when two geometries cross too often to tell, or as takeTurnFor
 */
export async function evaluateLongFilter(
  plan: FilterPlan,
  batch: ColumnBatch,
  { answer, boxesOf }: { answer?: Answer; boxesOf?: BoxesOf },
  work: Work,
): Promise<Bitset> {
  const chunk = newChunk(batch, answer && rememberAnswers(answer), boxesOf);
  const rows = newBitset(batch.rowCount);
  for (const window of rowWindows(plan, batch)) {
    const { isTrue } = await evaluateInTurns(chunk, plan.root, window, work);
    for (let w = 0; w < rows.length; w++) rows[w] = rows[w]! | (isTrue[w]! & window[w]!);
  }
  return rows;
}

/** Computed for all rows at once: otherwise each window would ask for them again. */
function rememberAnswers(answer: Answer): Answer {
  const known = new Map<PlanNode, Truth | undefined>();
  return (node) => {
    if (known.has(node)) return known.get(node);
    const truth = answer(node);
    known.set(node, truth);
    return truth;
  };
}

async function evaluateInTurns(chunk: Chunk, node: PlanNode, candidates: Bitset, work: Work): Promise<Truth> {
  if (leavesOf(node) <= LEAVES_A_TURN) {
    await takeTurnFor(work);
    return evaluate(chunk, node, candidates);
  }
  if (node.op === "geometry") return chunk.answer?.(node) ?? evaluateGeometry(chunk, node, candidates, work);
  if (node.op === "not") return notTruth(await evaluateInTurns(chunk, node.item, candidates, work), chunk.rowCount);
  if (node.op !== "and" && node.op !== "or") throw new Error(`a node ${node.op} has no items`);
  const isAnd = node.op === "and";
  let truth = constantTruth(isAnd, chunk.rowCount);
  for (const part of partsOf(node.items)) {
    const open = isAnd ? notFalse(truth, candidates) : notTrue(truth, candidates);
    if (isEmpty(open)) break;
    const of = await evaluateInTurns(chunk, part.length === 1 ? part[0]! : { op: node.op, items: part }, open, work);
    truth = isAnd ? andTruth(truth, of) : orTruth(truth, of);
  }
  return truth;
}

/** Items that are evaluated together: several in one turn, or a single one that takes several turns. */
function partsOf(items: readonly PlanNode[]): PlanNode[][] {
  const parts: PlanNode[][] = [];
  let leaves = LEAVES_A_TURN;
  for (const item of items) {
    leaves += leavesOf(item);
    if (leaves > LEAVES_A_TURN) {
      parts.push([]);
      leaves = leavesOf(item);
    }
    parts.at(-1)!.push(item);
  }
  return parts;
}

function leavesOf(node: PlanNode): number {
  if (node.op === "not") return leavesOf(node.item);
  if (node.op === "geometry") return LEAVES_A_TURN + 1;
  if (node.op !== "and" && node.op !== "or") return 1;
  return leavesOfItems(node);
}

const leavesOfItems = compileOnce(({ items }: { items: PlanNode[] }): number => {
  let leaves = 0;
  for (const item of items) leaves += leavesOf(item);
  return leaves;
});

function newChunk(batch: ColumnBatch, answer?: Answer, boxesOf?: BoxesOf): Chunk {
  const { rowCount } = batch;
  return { batch, rowCount, views: new Map(), items: new Map(), documents: new Map(), answer, boxesOf };
}

function evaluate(chunk: Chunk, node: PlanNode, candidates: Bitset): Truth {
  return chunk.answer?.(node) ?? evaluateRows(chunk, node, candidates);
}

function evaluateRows(chunk: Chunk, node: PlanNode, candidates: Bitset): Truth {
  switch (node.op) {
    case "constant":
      return constantTruth(node.value, chunk.rowCount);
    case "not":
      return notTruth(evaluate(chunk, node.item, candidates), chunk.rowCount);
    case "and":
      return evaluateAnd(chunk, node.items, candidates);
    case "or":
      return evaluateOr(chunk, node.items, candidates);
    case "isNull":
      return evaluateIsNull(chunk, node.fieldId, node.hasDefault);
    case "exists":
      return evaluateJson(chunk, node, node.operand, candidates);
    case "compareColumns":
      return evaluateCompareColumns(chunk, node, candidates);
    case "arrayEquals":
      return evaluateArrayEquals(chunk, node, candidates);
    case "match":
      return evaluateMatch(chunk, node, candidates);
    case "inGroups":
      return evaluateInGroups(chunk, node, candidates);
    case "geometry":
      throw new Error("a geometry is evaluated in turns");
    case "contains":
      return node.operand.from === "json"
        ? evaluateJson(chunk, node, node.operand, candidates)
        : evaluateContains(chunk, node, node.operand, candidates);
    case "compare":
    case "in":
    case "like":
      return isTyped(node)
        ? evaluateTyped(chunk, node, candidates)
        : evaluateJson(chunk, node, node.operand as JsonOperand, candidates);
  }
}

function isTyped(node: CompareNode | InNode | LikeNode): node is TypedNode {
  return node.operand.from !== "json";
}

function evaluateInGroups({ batch, rowCount }: Chunk, { key, groups }: InGroupsNode, candidates: Bitset): Truth {
  const wanted = new Set(groups);
  const groupOf = groupReader(batch, key);
  const bits = newBitset(rowCount);
  for (const row of bitsetRows(candidates)) if (wanted.has(groupOf(row))) setBit(bits, row);
  return knownTruth(bits, undefined);
}

function evaluateAnd(chunk: Chunk, items: PlanNode[], candidates: Bitset): Truth {
  let truth: Truth | undefined;
  for (const item of answeredFirst(chunk, items)) {
    const open = truth === undefined ? candidates : notFalse(truth, candidates);
    if (isEmpty(open)) break;
    const of = "isTrue" in item ? item : evaluate(chunk, item, open);
    truth = truth === undefined ? of : andTruth(truth, of);
  }
  return truth ?? constantTruth(true, chunk.rowCount);
}

function evaluateOr(chunk: Chunk, items: PlanNode[], candidates: Bitset): Truth {
  let truth: Truth | undefined;
  for (const item of answeredFirst(chunk, items)) {
    const open = truth === undefined ? candidates : notTrue(truth, candidates);
    if (isEmpty(open)) break;
    const of = "isTrue" in item ? item : evaluate(chunk, item, open);
    truth = truth === undefined ? of : orTruth(truth, of);
  }
  return truth ?? constantTruth(false, chunk.rowCount);
}

/** Items decided without reading the rows come first, with their known result. */
function answeredFirst(chunk: Chunk, items: PlanNode[]): (PlanNode | Truth)[] {
  const { answer } = chunk;
  if (answer === undefined) return items;
  const answers: Truth[] = [];
  const open = items.filter((item) => {
    const known = answer(item);
    if (known !== undefined) answers.push(known);
    return known === undefined;
  });
  return [...answers, ...open];
}

function evaluateIsNull(chunk: Chunk, fieldId: number, hasDefault: boolean): Truth {
  const column = chunk.batch.columns[fieldId];
  if (column === undefined) return constantTruth(!hasDefault, chunk.rowCount);
  return { isTrue: nullRows(column, chunk.rowCount) ?? newBitset(chunk.rowCount), unknown: undefined };
}

function evaluateJson(chunk: Chunk, node: JsonNode, operand: JsonOperand, candidates: Bitset): Truth {
  const column = chunk.batch.columns[operand.fieldId] as BytesColumn | undefined;
  if (column === undefined) return testMissing(node, operand, fullBitset(chunk.rowCount), chunk.rowCount);
  let documents = chunk.documents.get(operand.fieldId);
  if (documents === undefined) {
    documents = newDocuments(column, chunk.rowCount);
    chunk.documents.set(operand.fieldId, documents);
  }
  const nulls = nullRows(column, chunk.rowCount);
  const truth = testJson(node, operand, documents, knownRows(nulls, candidates));
  return nulls === undefined ? truth : orTruth(truth, testMissing(node, operand, nulls, chunk.rowCount));
}

function evaluateTyped(chunk: Chunk, node: TypedNode, candidates: Bitset): Truth {
  const { operand } = node;
  if (chunk.batch.columns[operand.fieldId] === undefined) return evaluateMissing(chunk, node, operand);
  const view = viewOperand(chunk, operand);
  const rows = knownRows(view.unknown, candidates);
  return knownTruth(testView(node, operand.type, view, rows, chunk.rowCount), view.unknown);
}

function evaluateMatch(chunk: Chunk, node: MatchNode, candidates: Bitset): Truth {
  const { operand } = node;
  const column = chunk.batch.columns[operand.fieldId] as BytesColumn | undefined;
  if (column === undefined) return evaluateMissing(chunk, node, operand);
  const unknown = nullRows(column, chunk.rowCount);
  const tokens = tokensOf(column, node.analyzerParams, chunk.rowCount);
  return knownTruth(matchTokens(node, tokens, knownRows(unknown, candidates), chunk.rowCount), unknown);
}

async function evaluateGeometry(chunk: Chunk, node: GeometryNode, candidates: Bitset, work: Work): Promise<Truth> {
  const { batch, rowCount, boxesOf } = chunk;
  const column = batch.columns[node.fieldId] as BytesColumn | undefined;
  if (column === undefined) return unknownTruth(rowCount);
  const unknown = nullRows(column, rowCount);
  const rows = knownRows(unknown, candidates);
  return knownTruth(await testGeometries(node, column, boxesOf?.(node.fieldId), rows, work), unknown);
}

/** All rows hold the same value: what holds for one holds for all. */
function evaluateMissing(chunk: Chunk, node: PlanNode, operand: TypedOperand): Truth {
  if (operand.from !== "column" || operand.defaultValue === undefined) return unknownTruth(chunk.rowCount);
  const columns = { [operand.fieldId]: singleRow(operand.type, operand.defaultValue) };
  const { isTrue } = evaluate(newChunk({ rowCount: 1, columns }), node, fullBitset(1));
  return constantTruth(!isEmpty(isTrue), chunk.rowCount);
}

function singleRow(type: ValueType, value: Scalar): ScalarColumn {
  switch (type) {
    case "VarChar": {
      const bytes = new TextEncoder().encode(String(value));
      return { kind: "varchar", offsets: Uint32Array.of(0, bytes.length), bytes };
    }
    case "Int64":
    case "Timestamptz":
      return { kind: "int64", values: BigInt64Array.of(BigInt(value)) };
    case "Float":
      return { kind: "float", values: Float32Array.of(Number(value)) };
    default:
      return { kind: "double", values: Float64Array.of(Number(value)) };
  }
}

function viewOperand(chunk: Chunk, operand: TypedOperand): RowView {
  if (operand.from === "element") {
    const column = arrayColumn(chunk, operand.fieldId);
    return viewElement(column, itemsOf(chunk, operand.fieldId, column), chunk.rowCount, operand.index);
  }
  const known = chunk.views.get(operand.fieldId);
  if (known !== undefined) return known;
  const column = chunk.batch.columns[operand.fieldId] as Column;
  const view =
    column.kind === "array" ? viewLengths(column, chunk.rowCount) : viewColumn(column as ScalarColumn, chunk.rowCount);
  chunk.views.set(operand.fieldId, view);
  return view;
}

function itemsOf(chunk: Chunk, fieldId: number, column: ArrayColumn): RowView {
  const known = chunk.items.get(fieldId);
  if (known !== undefined) return known;
  const view = viewColumn(column.items, column.offsets[chunk.rowCount]!);
  chunk.items.set(fieldId, view);
  return view;
}

function arrayColumn(chunk: Chunk, fieldId: number): ArrayColumn {
  return chunk.batch.columns[fieldId] as ArrayColumn;
}

/** @param rows candidates that have a value: strings of other rows are not looked at */
export function testView(node: TypedNode, type: ValueType, view: RowView, rows: Bitset, count: number): Bitset {
  if (view.kind === "text") return testTexts(node, view, rows, count);
  if (node.op === "in") return numbersIn(keyPairs(view), count, numberKeys(node));
  if (node.op === "like") throw new Error(`like on a column of type ${type}`);
  const { comparison, arithmetic, interval } = node;
  const value = typeof node.value === "bigint" ? node.value : Number(node.value);
  if (interval !== undefined) return compareMoved(view.pairs!, count, interval, comparison, BigInt(value));
  if (arithmetic !== undefined) {
    return compareArithmetic(view.values, view.pairs, count, arithmetic, comparison, value);
  }
  return compareNumberView(view, count, comparison, value);
}

function compareNumberView(
  view: NumberView,
  count: number,
  comparison: CompareNode["comparison"],
  value: number | bigint,
): Bitset {
  const { pairs } = view;
  // An Int64 is compared with a fraction as a double: rounding never moves an integer past a fraction.
  const isInteger = typeof value === "bigint" || Number.isInteger(value);
  if (pairs !== undefined && isInteger) return compareInt64(pairs, count, comparison, value, view.isSmall);
  return compareNumbers(view.values, count, comparison, Number(value));
}

function testTexts(node: TypedNode, view: TextView, rows: Bitset, count: number): Bitset {
  switch (node.op) {
    case "compare":
      return compareTexts(view.offsets, view.bytes, rows, node.comparison, textConstant(node));
    case "in":
      return textsIn(view.offsets, view.bytes, rows, textKeys(node));
    case "like":
      return likeTexts(view.offsets, view.bytes, rows, count, patternOf(node));
  }
}

const textConstant = compileOnce((node: CompareNode) => new TextEncoder().encode(String(node.value)));
const textKeys = compileOnce((node: InNode) => newTextSet(node.values.map(String)));
const numberKeys = compileOnce((node: InNode) =>
  newKeySet(pairsOfConstants((node.operand as TypedOperand).type, node.values)),
);

function evaluateCompareColumns(chunk: Chunk, node: CompareColumnsNode, candidates: Bitset): Truth {
  const { left, comparison, right } = node;
  const { columns } = chunk.batch;
  if (columns[left.fieldId] === undefined || columns[right.fieldId] === undefined) {
    return evaluateMissingColumn(chunk, node, candidates);
  }
  const a = viewOperand(chunk, left);
  const b = viewOperand(chunk, right);
  const unknown = unionOf(a.unknown, b.unknown);
  if (a.kind === "text" && b.kind === "text") {
    return knownTruth(compareTextColumns(a, b, knownRows(unknown, candidates), comparison), unknown);
  }
  if (a.kind === "text" || b.kind === "text") throw new Error("a string column is compared with a numeric one");
  const bits =
    a.pairs !== undefined && b.pairs !== undefined
      ? compareInt64Columns(a.pairs, b.pairs, chunk.rowCount, comparison)
      : compareNumberColumns(a.values, b.values, chunk.rowCount, comparison);
  return knownTruth(bits, unknown);
}

/** A column that the batch lacks counts as its default, so the other one is compared with a constant. */
function evaluateMissingColumn(chunk: Chunk, node: CompareColumnsNode, candidates: Bitset): Truth {
  const { left, comparison, right } = node;
  const isLeftMissing = chunk.batch.columns[left.fieldId] === undefined;
  const missing = isLeftMissing ? left : right;
  if (missing.defaultValue === undefined) return unknownTruth(chunk.rowCount);
  const test: TypedNode = {
    op: "compare",
    operand: isLeftMissing ? right : left,
    comparison: isLeftMissing ? FLIPPED[comparison] : comparison,
    value: missing.defaultValue,
  };
  return evaluateTyped(chunk, test, candidates);
}

function unionOf(a: Bitset | undefined, b: Bitset | undefined): Bitset | undefined {
  if (a === undefined || b === undefined) return a ?? b;
  const bits = new Uint32Array(a.length);
  for (let w = 0; w < bits.length; w++) bits[w] = a[w]! | b[w]!;
  return bits;
}

/** Arrays are equal when the lengths are and each element is. */
function evaluateArrayEquals(chunk: Chunk, node: ArrayEqualsNode, candidates: Bitset): Truth {
  const column = arrayColumn(chunk, node.fieldId) as ArrayColumn | undefined;
  if (column === undefined) return unknownTruth(chunk.rowCount);
  const lengths = viewLengths(column, chunk.rowCount);
  const equal = compareNumbers(lengths.values, chunk.rowCount, "==", node.values.length);
  for (let w = 0; w < equal.length; w++) equal[w] = equal[w]! & candidates[w]!;
  const elements = elementTests(node);
  for (let i = 0; i < elements.length && !isEmpty(equal); i++) {
    const { isTrue } = evaluateTyped(chunk, elements[i]!, equal);
    for (let w = 0; w < equal.length; w++) equal[w] = equal[w]! & isTrue[w]!;
  }
  return knownTruth(equal, lengths.unknown);
}

const elementTests = compileOnce((node: ArrayEqualsNode): TypedNode[] =>
  node.values.map((value, index) => ({
    op: "compare",
    operand: { from: "element", fieldId: node.fieldId, type: node.elementType, index },
    comparison: "==",
    value,
  })),
);

function evaluateContains(
  chunk: Chunk,
  node: ContainsNode,
  operand: Exclude<ContainsNode["operand"], JsonOperand>,
  candidates: Bitset,
): Truth {
  const { rowCount } = chunk;
  const column = arrayColumn(chunk, operand.fieldId) as ArrayColumn | undefined;
  if (column === undefined) return unknownTruth(rowCount);
  const items = itemsOf(chunk, operand.fieldId, column);
  const unknown = nullRows(column, rowCount);
  const found = rowsHolding(wantedOf(node), items, column.offsets, knownRows(unknown, candidates));
  return knownTruth(found, unknown);
}

// Only JSON operands have arrays among their values.
const wantedOf = compileOnce(({ operand, mode, values }: ContainsNode) =>
  wantedItems(mode, (operand as Exclude<ContainsNode["operand"], JsonOperand>).elementType, values as Scalar[]),
);

/** `any` makes one test of the whole list, `all` one test for each value. */
export const itemTests = compileOnce((node: ContainsNode): TypedNode[] => {
  const { elementType } = node.operand as Exclude<ContainsNode["operand"], JsonOperand>;
  const operand: ColumnOperand = { from: "column", fieldId: node.operand.fieldId, type: elementType };
  // Only JSON operands have arrays among their values.
  const values = node.values as Scalar[];
  const lists = node.mode === "all" ? values.map((value) => [value]) : values.length === 0 ? [] : [values];
  return lists.map((list) => ({ op: "in", operand, values: list }));
});
