/**
 * The planner's view of a part of the tree, once its names are resolved and its constants folded.
 */
import type { Expression, Literal } from "./ast.ts";
import { ExpressionError } from "./expression-error.ts";
import type { Arithmetic, Operand, PlanNode } from "./plan-node.ts";
import type { Resolved } from "./resolve.ts";

/** What a part of the tree turns out to be. */
export type Term =
  | { kind: "constant"; literal: Literal }
  | { kind: "arithmetic"; operand: Operand; arithmetic: Arithmetic }
  | { kind: "predicate"; node: PlanNode }
  | Resolved;

export type Kind<K extends Expression["kind"]> = Extract<Expression, { kind: K }>;

export function predicate(node: PlanNode): Term {
  return { kind: "predicate", node };
}

export function isNumericOperand(operand: Operand): boolean {
  return operand.from === "json" || (operand.type !== "Bool" && operand.type !== "VarChar");
}

/** @throws ExpressionError that points at the node */
export function fail(message: string, at: Expression): never {
  throw new ExpressionError(message, at.start);
}
