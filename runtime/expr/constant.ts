/**
 * What the planner does with constants: arithmetic and comparison between them, and the cast of one to the type of
 * the column that it meets. Integer arithmetic is exact and refuses to leave int64.
 */
import type { Scalar } from "../schema.ts";
import { formatTimestamptz } from "../timestamptz.ts";
import { calculateBig, calculateDouble } from "./arithmetic.ts";
import type { ArithmeticOperator, Comparison, Literal } from "./ast.ts";
import { ExpressionError } from "./expression-error.ts";
import { isInt64 } from "./literal.ts";
import type { JsonConstant, ValueType } from "./plan-node.ts";

export type NumberLiteral = Extract<Literal, { type: "int" | "float" }>;

export function isNumber(literal: Literal): literal is NumberLiteral {
  return literal.type === "int" || literal.type === "float";
}

/** The name of a constant's type in messages. */
export function typeName(literal: Literal): string {
  return { bool: "Bool", int: "Int64", float: "Double", string: "VarChar", time: "Timestamptz", array: "Array" }[
    literal.type
  ];
}

export function show(literal: Literal): string {
  switch (literal.type) {
    case "string":
      return JSON.stringify(literal.value);
    case "time":
      return formatTimestamptz(literal.value);
    case "array":
      return `[${literal.items.map(show).join(", ")}]`;
    default:
      return String(literal.value);
  }
}

/** @throws ExpressionError on overflow, division by zero, `%` of floats, operands that are not numbers */
export function calculate(operator: ArithmeticOperator, left: Literal, right: Literal, offset: number): Literal {
  if (!isNumber(left) || !isNumber(right)) {
    throw new ExpressionError(`'${operator}' can only be used on numbers`, offset);
  }
  refuseZeroDivisor(operator, right, offset);
  if (left.type === "int" && right.type === "int" && !(operator === "**" && right.value < 0n)) {
    return calculateIntegers(operator, left.value, right.value, offset);
  }
  if (operator === "%") throw new ExpressionError("'%' can only be used on integers", offset);
  const value = calculateDouble(Number(left.value), operator, Number(right.value));
  if (!Number.isFinite(value)) throw new ExpressionError("constant arithmetic is out of range", offset);
  return { type: "float", value };
}

/** @throws ExpressionError for `/` and `%` by zero */
export function refuseZeroDivisor(operator: ArithmeticOperator, right: NumberLiteral, offset: number): void {
  if ((operator === "/" || operator === "%") && Number(right.value) === 0) {
    throw new ExpressionError("cannot divide by zero", offset);
  }
}

function calculateIntegers(operator: ArithmeticOperator, left: bigint, right: bigint, offset: number): Literal {
  // The size of a power is estimated first: 2 ** 1000000000 must be refused without being computed.
  const isTooLarge = operator === "**" && Math.abs(Number(left)) ** Number(right) > 2 ** 64;
  const value = isTooLarge ? undefined : calculateBig(left, operator, right);
  if (value === undefined || !isInt64(value)) throw new ExpressionError("integer arithmetic overflows", offset);
  return { type: "int", value };
}

/** @throws ExpressionError when the two are not of one class, or are arrays */
export function compareConstants(comparison: Comparison, left: Literal, right: Literal, offset: number): boolean {
  const order = orderConstants(left, right, offset);
  const isOrdering = comparison !== "==" && comparison !== "!=";
  if (isOrdering && left.type === "bool") throw new ExpressionError("booleans have no order, use == or !=", offset);
  switch (comparison) {
    case "==":
      return order === 0;
    case "!=":
      return order !== 0;
    case "<":
      return order < 0;
    case "<=":
      return order <= 0;
    case ">":
      return order > 0;
    case ">=":
      return order >= 0;
  }
}

/** Negative, zero or positive. Strings by code point, as the bytes of UTF-8 order. @throws ExpressionError as above */
export function orderConstants(left: Literal, right: Literal, offset: number): number {
  if (isNumber(left) && isNumber(right)) return left.value < right.value ? -1 : left.value > right.value ? 1 : 0;
  if (left.type === "string" && right.type === "string")
    return Buffer.compare(Buffer.from(left.value), Buffer.from(right.value));
  if (left.type === "time" && right.type === "time")
    return left.value < right.value ? -1 : left.value > right.value ? 1 : 0;
  if (left.type === "bool" && right.type === "bool") return Number(left.value) - Number(right.value);
  throw new ExpressionError(`comparisons between ${typeName(left)} and ${typeName(right)} are not supported`, offset);
}

/**
 * A constant as the plan of a column or element of `type` keeps it.
 * @throws ExpressionError when the column's type does not take it
 */
export function castTo(type: ValueType, literal: Literal, offset: number): Scalar {
  switch (type) {
    case "Bool":
      if (literal.type === "bool") return literal.value;
      break;
    case "VarChar":
      if (literal.type === "string") return literal.value;
      break;
    case "Float":
      if (isNumber(literal)) return Math.fround(Number(literal.value));
      break;
    case "Double":
      if (isNumber(literal)) return Number(literal.value);
      break;
    case "Timestamptz":
      if (literal.type === "time") return compact(literal.value);
      break;
    default:
      if (literal.type === "int") return compact(literal.value);
  }
  throw new ExpressionError(`cannot cast value to ${type}, value: ${show(literal)} (${typeName(literal)})`, offset);
}

/** A constant as the plan of a JSON path keeps it. @throws ExpressionError for timestamps: JSON has none */
export function jsonConstant(literal: Literal, offset: number): JsonConstant {
  switch (literal.type) {
    case "int":
      return compact(literal.value);
    case "array":
      return literal.items.map((item) => jsonConstant(item, offset));
    case "time":
      throw new ExpressionError("timestamps can only be compared with Timestamptz fields", offset);
    default:
      return literal.value;
  }
}

export function numberConstant(literal: NumberLiteral): number | bigint {
  return literal.type === "int" ? compact(literal.value) : literal.value;
}

/** One form for each value: a bigint only where a number is not exact. */
export function compact(value: bigint): number | bigint {
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : value;
}
