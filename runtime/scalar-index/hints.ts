/**
 * Which parts of a filter an index may answer. The plan carries these hints, so that nodes that hold rows need not look up the
 * collection's indexes; a node without such an index, or without room for it, reads the rows instead.
 */
import type { IndexHint } from "../expr/plan.ts";
import type { JsonOperand, PlanNode } from "../expr/plan-node.ts";

/** What an index covers in a chunk: a column by its values, by its grams or by its bounding boxes, or a path of a JSON column. */
export type IndexTarget =
  | { kind: "values"; fieldId: number }
  | { kind: "grams"; fieldId: number; gram: number }
  | { kind: "boxes"; fieldId: number }
  | { kind: "path"; fieldId: number; operand: JsonOperand };

/** A unique text for each target. */
export function targetKey(target: IndexTarget): string {
  switch (target.kind) {
    case "values":
      return `values ${target.fieldId}`;
    case "grams":
      return `grams ${target.fieldId} ${target.gram}`;
    case "boxes":
      return `boxes ${target.fieldId}`;
    case "path":
      return `path ${target.fieldId} ${JSON.stringify(target.operand.path)}`;
  }
}

/** The index that answers a leaf of a plan, if a hint names one. */
export function targetOf(node: PlanNode, hints: readonly IndexHint[]): IndexTarget | undefined {
  switch (node.op) {
    case "compare":
    case "in":
    case "like":
    case "exists":
      break;
    case "geometry": {
      const { fieldId } = node;
      return hints.some((hint) => hint.fieldId === fieldId && hint.hasBoxes) ? { kind: "boxes", fieldId } : undefined;
    }
    case "contains":
      if (node.operand.from === "json") break;
      return has(hints, node.operand.fieldId) ? { kind: "values", fieldId: node.operand.fieldId } : undefined;
    default:
      return undefined;
  }
  const { operand } = node;
  if (operand.from === "json") {
    const isAnswered = operand.isLength !== true && !(node.op === "compare" && Array.isArray(node.value));
    const isIndexed = hints.some((hint) => hint.fieldId === operand.fieldId && coversPath(hint, operand.path));
    return isAnswered && isIndexed ? { kind: "path", fieldId: operand.fieldId, operand } : undefined;
  }
  if (operand.from !== "column") return undefined;
  const { fieldId } = operand;
  const gram = node.op === "like" ? hints.find((hint) => hint.fieldId === fieldId)?.gram : undefined;
  if (gram !== undefined) return { kind: "grams", fieldId, gram };
  return has(hints, fieldId) ? { kind: "values", fieldId } : undefined;
}

function has(hints: readonly IndexHint[], fieldId: number): boolean {
  return hints.some((hint) => hint.fieldId === fieldId && hint.gram === undefined);
}

function coversPath({ path = [], isFlat }: IndexHint, wanted: readonly (string | number)[]): boolean {
  if (path.length > wanted.length || (isFlat !== true && path.length !== wanted.length)) return false;
  // An index names its path as text, in which a position and a key of digits look the same; so each operand has its own index.
  return path.every((part, i) => String(part) === String(wanted[i]));
}

/** The indexes that answer leaves of a plan, each once. */
export function targetsOf(root: PlanNode, hints: readonly IndexHint[]): Map<string, IndexTarget> {
  const targets = new Map<string, IndexTarget>();
  if (hints.length > 0) collect(root, hints, targets);
  return targets;
}

function collect(node: PlanNode, hints: readonly IndexHint[], into: Map<string, IndexTarget>): void {
  if (node.op === "and" || node.op === "or") for (const item of node.items) collect(item, hints, into);
  else if (node.op === "not") collect(node.item, hints, into);
  else {
    const target = targetOf(node, hints);
    if (target !== undefined) into.set(targetKey(target), target);
  }
}
