/**
 * Building AND, OR and NOT of plan nodes: constants are folded, runs are flattened, many `==` of one column joined by OR
 * become one list, and items are put in the order in which they are cheapest to evaluate (a later item only looks at the
 * rows that the earlier ones leave open).
 */
import type { Scalar } from "../schema.ts";
import type { CompareNode, Operand, PlanNode } from "./plan-node.ts";

/** Comparing fewer one by one is as quick as looking into a list. */
const LISTED_MIN = 4;

/** @param items at least one */
export function logic(op: "and" | "or", items: PlanNode[]): PlanNode {
  const absorbing = op === "or";
  const flat = items.flatMap((item) => (item.op === op ? item.items : [item]));
  if (flat.some((item) => item.op === "constant" && item.value === absorbing))
    return { op: "constant", value: absorbing };
  const open = flat.filter((item) => item.op !== "constant");
  if (open.length === 0) return { op: "constant", value: !absorbing };
  const joined = op === "or" ? listed(open) : open;
  if (joined.length === 1) return joined[0]!;
  return { op, items: joined.sort((a, b) => costOf(a) - costOf(b)) };
}

/** `a == 1 or a == 2 or ...` as `a in [1, 2, ...]`: equal also where the column has no value. */
function listed(items: PlanNode[]): PlanNode[] {
  if (items.length < LISTED_MIN) return items;
  const equals = new Map<number, CompareNode[]>();
  const others: PlanNode[] = [];
  for (const item of items) {
    if (item.op === "compare" && isPlainEqual(item)) {
      const { fieldId } = item.operand;
      const ofField = equals.get(fieldId);
      if (ofField === undefined) equals.set(fieldId, [item]);
      else ofField.push(item);
    } else others.push(item);
  }
  for (const nodes of equals.values()) {
    if (nodes.length < LISTED_MIN) others.push(...nodes);
    else others.push({ op: "in", operand: nodes[0]!.operand, values: nodes.map(({ value }) => value as Scalar) });
  }
  return others;
}

function isPlainEqual({ operand, comparison, arithmetic, interval }: CompareNode): boolean {
  return operand.from === "column" && comparison === "==" && arithmetic === undefined && interval === undefined;
}

export function negate(item: PlanNode): PlanNode {
  if (item.op === "constant") return { op: "constant", value: !item.value };
  if (item.op === "not") return item.item;
  return { op: "not", item };
}

/** Rough nanoseconds a row: only the order matters. */
function costOf(node: PlanNode): number {
  switch (node.op) {
    case "constant":
    case "isNull":
      return 0;
    case "not":
      return costOf(node.item);
    case "and":
    case "or":
      return node.items.reduce((sum, item) => sum + costOf(item), 0);
    case "compareColumns":
      return node.left.type === "VarChar" ? 20 : 3;
    case "arrayEquals":
      return 15;
    case "inGroups":
      return node.key.path === undefined ? 100 : 1000;
    case "exists":
      return operandCost(node.operand);
    case "contains":
      return node.operand.from === "json" ? operandCost(node.operand) : 30;
    case "in":
      return operandCost(node.operand) + 3;
    case "like":
      return operandCost(node.operand) + 10;
    case "match":
      return 50;
    case "geometry":
      return 2000;
    case "compare":
      return operandCost(node.operand) + (node.arithmetic === undefined ? 0 : 2);
  }
}

function operandCost(operand: Operand): number {
  switch (operand.from) {
    case "json":
      // A JSON.parse a row.
      return 1000;
    case "element":
      return operand.type === "VarChar" ? 20 : 5;
    case "length":
      return 2;
    case "column":
      return operand.type === "VarChar" ? 8 : 1;
  }
}
