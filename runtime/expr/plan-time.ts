/**
 * Timestamps and intervals: `ts + INTERVAL 'P1D' > ISO '2025-01-01T00:00:00Z'`. Where the interval has no months, the
 * constant is moved instead of every row; months are as long as the row's own date makes them.
 */
import { addInterval, type Interval, parseInterval, parseTimestamptz } from "../timestamptz.ts";
import type { Comparison, Expression, Literal } from "./ast.ts";
import { castTo, compact, show } from "./constant.ts";
import { INT64_MAX, INT64_MIN } from "./literal.ts";
import type { PlanNode } from "./plan-node.ts";
import { fail, type Kind, type PlanContext, type Term } from "./term.ts";

/** @throws ExpressionError when the text is no timestamp, or no duration */
export function planTime(context: PlanContext, node: Kind<"time">): Term {
  if (node.unit === "iso") return { kind: "constant", literal: timeOf(context, node.text, node) };
  const interval = parseInterval(node.text);
  if (interval !== undefined) return { kind: "interval", interval };
  return fail(`invalid interval '${node.text}', expected an ISO 8601 duration such as 'P1DT2H'`, node);
}

/** A constant that meets a Timestamptz column: text, from a template for instance, is read as ISO 8601. */
export function timeFor(context: PlanContext, term: Term, literal: Literal, at: Expression): Literal {
  const isTime =
    term.kind === "moved" ||
    (term.kind === "operand" && term.operand.from === "column" && term.operand.type === "Timestamptz");
  return isTime && literal.type === "string" ? timeOf(context, literal.value, at) : literal;
}

function timeOf(context: PlanContext, text: string, at: Expression): Extract<Literal, { type: "time" }> {
  const value = parseTimestamptz(text, context.timeZone);
  if (value === undefined) return fail(`invalid timestamp '${text}', expected ISO 8601 text`, at);
  return { type: "time", value };
}

/** `time ± interval`, of a column or of constants. */
export function moveTime(node: Kind<"arithmetic">, left: Term, right: Term): Term {
  const isSwapped = left.kind === "interval" && node.operator === "+";
  const [time, by] = isSwapped ? [right, left] : [left, right];
  if (by.kind !== "interval" || (node.operator !== "+" && node.operator !== "-")) {
    return fail("an interval can only be added to or taken from a timestamp", node);
  }
  const interval = node.operator === "+" ? by.interval : negated(by.interval);
  if (time.kind === "constant" && time.literal.type === "time") {
    return { kind: "constant", literal: { type: "time", value: addInterval(time.literal.value, interval) } };
  }
  if (time.kind === "operand" && time.operand.from === "column" && time.operand.type === "Timestamptz") {
    return { kind: "moved", operand: time.operand, interval };
  }
  if (time.kind === "moved") return fail("complicated arithmetic operations are not supported", node);
  return fail("an interval can only be added to or taken from a Timestamptz field", node);
}

/** @throws ExpressionError when the constant is no timestamp */
export function compareMoved(
  { operand, interval }: Extract<Term, { kind: "moved" }>,
  comparison: Comparison,
  literal: Literal,
  at: Expression,
): PlanNode {
  if (literal.type !== "time") return fail(`expected a timestamp, got ${show(literal)}`, at);
  if (interval.months !== 0) {
    return { op: "compare", operand, interval, comparison, value: castTo("Timestamptz", literal, at.start) };
  }
  const moved = literal.value - BigInt(interval.us);
  // Far beyond every timestamp: comparisons give the same result.
  const value = moved > INT64_MAX ? INT64_MAX : moved < INT64_MIN ? INT64_MIN : moved;
  return { op: "compare", operand, comparison, value: compact(value) };
}

function negated({ months, us }: Interval): Interval {
  return { months: -months, us: -us };
}
