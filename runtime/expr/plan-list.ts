/**
 * Lists of thousands of constants that are taken without looking at each. If a value may not fit the operand, there is no such
 * list, and the planner casts the values one by one.
 */
import type { Scalar } from "../schema.ts";
import type { Expression, Literal } from "./ast.ts";
import { compact } from "./constant.ts";
import { isInt64 } from "./literal.ts";
import type { ValueType } from "./plan-node.ts";
import type { PlanContext } from "./term.ts";

/** @param type of the operand's values; null: JSON */
export function plainList(context: PlanContext, at: Expression, type: ValueType | null): Scalar[] | undefined {
  if (at.kind === "list") return type === null ? at.values : taken(at.values, type, at.floats.size === 0);
  if (at.kind !== "template" || type === null) return undefined;
  const given = Object.hasOwn(context.templateValues, at.name) ? context.templateValues[at.name] : undefined;
  if (!Array.isArray(given) || given.length === 0) return undefined;
  const isPlain = typeof given[0] === "string" ? isText : isPlainNumber;
  return given.every(isPlain) ? taken(given as (number | bigint)[] | string[], type, true) : undefined;
}

function isText(value: unknown): boolean {
  return typeof value === "string";
}

/** What is not an integer of 64 bits is not a constant. */
function isPlainNumber(value: unknown): boolean {
  return typeof value === "bigint" ? isInt64(value) : Number.isSafeInteger(value) || isFraction(value);
}

function isFraction(value: unknown): boolean {
  return Number.isFinite(value) && !Number.isInteger(value);
}

/** @param isWholeAsSpelled none of the whole numbers is spelled as a float */
function taken(
  values: (number | bigint)[] | string[],
  type: ValueType,
  isWholeAsSpelled: boolean,
): Scalar[] | undefined {
  if (typeof values[0] === "string") return type === "VarChar" ? values : undefined;
  const numbers = values as (number | bigint)[];
  switch (type) {
    case "Double":
      return numbers.every((value) => typeof value === "number") ? numbers : numbers.map(Number);
    case "Float":
      return numbers.map((value) => Math.fround(Number(value)));
    case "Int8":
    case "Int16":
    case "Int32":
    case "Int64": {
      if (!isWholeAsSpelled || numbers.some(isFraction)) return undefined;
      return numbers.map((value) => (typeof value === "bigint" ? compact(value) : value));
    }
    default:
      return undefined;
  }
}

/** The values of a list, each as a constant. */
export function listItems({ values, floats }: Extract<Expression, { kind: "list" }>): Literal[] {
  return Array.from(values as (number | bigint | string)[], (value, i) => {
    if (typeof value === "string") return { type: "string", value };
    const isFloat = typeof value === "number" && (!Number.isInteger(value) || floats.has(i));
    return isFloat ? { type: "float", value } : { type: "int", value: BigInt(value) };
  });
}
