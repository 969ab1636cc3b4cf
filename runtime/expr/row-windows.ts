/**
 * Divides a chunk with long columns into windows of rows, each evaluated in one turn: a chunk of documents or long texts has
 * some hundred megabytes.
 */
import { type Bitset, fullBitset, newBitset, setBit } from "../segment/bitset.ts";
import type { Column, ColumnBatch } from "../segment/column.ts";
import { compileOnce } from "./compile-once.ts";
import { patternOf } from "./like.ts";
import type { FilterPlan } from "./plan.ts";
import type { PlanNode } from "./plan-node.ts";

/** Bytes read in one turn: a millisecond or two. */
const PIECE_BYTES = 1 << 19;

/** How much longer matching a pattern takes than reading; more for longer patterns. */
const PATTERN_WEIGHT = 8;
const STEPS_A_WEIGHT = 16;
/** How much longer making the group of a value takes than reading. */
const GROUP_WEIGHT = 4;

/** By field: the relative cost of one of its bytes. */
const weightsOf = compileOnce(({ root }: FilterPlan): Map<number, number> => {
  const weights = new Map<number, number>();
  collect(root, weights);
  return weights;
});

function collect(node: PlanNode, into: Map<number, number>): void {
  if (node.op === "and" || node.op === "or") {
    for (const item of node.items) collect(item, into);
    return;
  }
  if (node.op === "not") {
    collect(node.item, into);
    return;
  }
  const weight = weightOf(node);
  if (weight === 0) return;
  const fieldId = node.op === "inGroups" ? node.key.fieldId : "operand" in node ? node.operand.fieldId : 0;
  into.set(fieldId, (into.get(fieldId) ?? 0) + weight);
}

/** 0: costs hardly more than a look at each row, or takes its own turns. */
function weightOf(node: PlanNode): number {
  switch (node.op) {
    case "like": {
      const pattern = patternOf(node);
      return pattern.kind === "general" ? PATTERN_WEIGHT + Math.floor(pattern.steps.length / STEPS_A_WEIGHT) : 1;
    }
    case "inGroups":
      return GROUP_WEIGHT;
    case "contains":
    case "exists":
      return 1;
    case "in":
      return node.operand.from === "json" || node.operand.type === "VarChar" ? 1 : 0;
    case "compare":
      return node.operand.from === "json" ? 1 : 0;
    default:
      return 0;
  }
}

/** A single window of all rows, or several of at least one row each; they do not overlap. */
export function rowWindows(plan: FilterPlan, batch: ColumnBatch): Bitset[] {
  const { rowCount } = batch;
  const count = Math.min(Math.ceil(weightOfRows(plan, batch) / PIECE_BYTES), rowCount);
  if (count <= 1) return [fullBitset(rowCount)];
  const step = Math.ceil(rowCount / count);
  const windows: Bitset[] = [];
  for (let start = 0; start < rowCount; start += step) {
    const window = newBitset(rowCount);
    for (let row = start; row < Math.min(rowCount, start + step); row++) setBit(window, row);
    windows.push(window);
  }
  return windows;
}

/** Whether there is more than one. */
export function hasWindows(plan: FilterPlan, batch: ColumnBatch): boolean {
  return batch.rowCount > 1 && weightOfRows(plan, batch) > PIECE_BYTES;
}

function weightOfRows(plan: FilterPlan, { rowCount, columns }: ColumnBatch): number {
  let sum = 0;
  for (const [fieldId, weight] of weightsOf(plan)) {
    const column = columns[fieldId];
    if (column !== undefined) sum += weight * bytesOf(column, rowCount);
  }
  return sum;
}

function bytesOf(column: Column, rowCount: number): number {
  if (column.kind === "array") return bytesOf(column.items, column.offsets[rowCount]!);
  if ("offsets" in column) return column.offsets[rowCount]!;
  return "dimension" in column ? 0 : 8 * rowCount;
}
