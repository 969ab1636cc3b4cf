/**
 * Comparisons: of a field, an element, a path or an arithmetic result with a constant, of arrays with arrays, and of
 * columns with columns.
 */
import { isVectorType } from "../schema.ts";
import type { Comparison, Expression, Literal } from "./ast.ts";
import { castTo, isNumber, jsonConstant, numberConstant, show, typeName } from "./constant.ts";
import { negate } from "./plan-logic.ts";
import type { PlanNode } from "./plan-node.ts";
import { compareMoved } from "./plan-time.ts";
import { fail, isNumericOperand, type Kind, predicate, type Term } from "./term.ts";

export function compareWith(
  term: Extract<Term, { kind: "operand" | "arithmetic" | "moved" }>,
  comparison: Comparison,
  literal: Literal,
  at: Expression,
): PlanNode {
  const { operand } = term;
  const isOrdering = comparison !== "==" && comparison !== "!=";
  if (isOrdering && (literal.type === "bool" || literal.type === "array")) {
    return fail(`${typeName(literal)} values have no order, use == or !=`, at);
  }
  if (term.kind === "moved") return compareMoved(term, comparison, literal, at);
  if (term.kind === "arithmetic") {
    if (!isNumber(literal)) return fail(`an arithmetic result cannot be compared with ${show(literal)}`, at);
    const value = term.arithmetic.isInteger ? castTo("Int64", literal, at.start) : numberConstant(literal);
    return { op: "compare", operand, arithmetic: term.arithmetic, comparison, value };
  }
  if (operand.from !== "json") {
    return { op: "compare", operand, comparison, value: castTo(operand.type, literal, at.start) };
  }
  const value = operand.isLength ? castTo("Int64", literal, at.start) : jsonConstant(literal, at.start);
  return { op: "compare", operand, comparison, value };
}

export function planArrayEquals(node: Kind<"compare">, left: Term, right: Term): Term {
  const field = left.kind === "field" ? left.field : (right as Extract<Term, { kind: "field" }>).field;
  if (isVectorType(field.type)) return fail(`vector field ${field.name} cannot be compared`, node);
  if (field.type === "Geometry") return fail(`geometry field ${field.name} cannot be compared`, node);
  const other = left.kind === "field" ? right : left;
  const isEquality = node.operator === "==" || node.operator === "!=";
  if (!isEquality || other.kind !== "constant" || other.literal.type !== "array") {
    return fail("can not comparisons array fields directly, except == and != with an array", node);
  }
  const elementType = field.elementType!;
  const values = other.literal.items.map((item) => castTo(elementType, item, node.start));
  const equals: PlanNode = { op: "arrayEquals", fieldId: field.fieldId, elementType, values };
  return predicate(node.operator === "==" ? equals : negate(equals));
}

export function planCompareColumns(node: Kind<"compare">, left: Term, right: Term): Term {
  if (left.kind !== "operand" || right.kind !== "operand") {
    return fail("arithmetic can only be compared with a constant", node);
  }
  if (left.operand.from !== "column" || right.operand.from !== "column") {
    return fail("only scalar columns can be compared with each other, not json, dynamic or array values", node);
  }
  const [a, b] = [left.operand.type, right.operand.type];
  const isComparable = a === b || (isNumericOperand(left.operand) && isNumericOperand(right.operand));
  if (!isComparable) return fail(`comparisons between ${a} and ${b} are not supported`, node);
  if (a === "Bool" && node.operator !== "==" && node.operator !== "!=") {
    return fail("Bool values have no order, use == or !=", node);
  }
  return predicate({ op: "compareColumns", left: left.operand, comparison: node.operator, right: right.operand });
}
