/**
 * The planner's view of a part of the tree, once its names are resolved and its constants folded.
 */
import type { CollectionSchema } from "../schema.ts";
import type { Interval } from "../timestamptz.ts";
import type { Expression, Literal } from "./ast.ts";
import { ExpressionError } from "./expression-error.ts";
import type { Arithmetic, ColumnOperand, Operand, PlanNode } from "./plan-node.ts";
import type { Resolved } from "./resolve.ts";

/** What a part of the tree stands for. */
export type Term =
  | { kind: "constant"; literal: Literal }
  | { kind: "interval"; interval: Interval }
  | { kind: "arithmetic"; operand: Operand; arithmetic: Arithmetic }
  /** A Timestamptz column with an interval added. */
  | { kind: "moved"; operand: ColumnOperand; interval: Interval }
  | { kind: "predicate"; node: PlanNode }
  | Resolved;

export type Kind<K extends Expression["kind"]> = Extract<Expression, { kind: K }>;

/** The context in which one text is planned. */
export interface PlanContext {
  text: string;
  schema: CollectionSchema;
  templateValues: Record<string, unknown>;
  /** The zone of timestamps without an offset. */
  timeZone: string;
  /** @throws ExpressionError when a part of the tree does not fit the schema */
  visit: (node: Expression) => Term;
}

/** The part of the text that a node came from. */
export function source(context: PlanContext, node: Expression): string {
  return context.text.slice(node.start, node.end);
}

/** @throws ExpressionError when the node is not a constant */
export function constantAt(context: PlanContext, node: Expression): Literal {
  const term = context.visit(node);
  if (term.kind !== "constant") fail(`expected a constant, got ${source(context, node)}`, node);
  return term.literal;
}

export function predicate(node: PlanNode): Term {
  return { kind: "predicate", node };
}

export function isNumericOperand(operand: Operand): boolean {
  return operand.from === "json" || !["Bool", "VarChar", "Timestamptz"].includes(operand.type);
}

/** @throws ExpressionError that points at the node */
export function fail(message: string, at: Expression): never {
  throw new ExpressionError(message, at.start);
}
