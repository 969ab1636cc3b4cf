/**
 * How operators bind: a flat run of operands and operators becomes a tree. One table holds the levels.
 */
import type { ArithmeticOperator, BitOperator, Comparison, Expression } from "./ast.ts";

/** The part after an operand: an operator and its right side, or IN and its list. */
export type Link = { operator: string; right: Expression } | { list: Expression; isNegated: boolean };

const OR = 0;
const AND = 1;
const RELATION = 6;
const IN_LIST = 7;

/** How tightly each spelling binds; IN stands between the shifts and the relations. All are left-associative. */
const PRECEDENCE: Record<string, number> = {
  "||": OR,
  or: OR,
  OR,
  "&&": AND,
  and: AND,
  AND,
  "|": 2,
  "^": 3,
  "&": 4,
  "==": 5,
  "!=": 5,
  "<": RELATION,
  "<=": RELATION,
  ">": RELATION,
  ">=": RELATION,
  "<<": 8,
  ">>": 8,
  "+": 9,
  "-": 9,
  "*": 10,
  "/": 10,
  "%": 10,
};
const TIGHTEST = 10;

function precedenceOf(link: Link): number {
  return "list" in link ? IN_LIST : PRECEDENCE[link.operator]!;
}

/** Binds a flat run of operands by precedence climbing; recursion is bounded by the number of levels. */
export function bind(first: Expression, links: Link[]): Expression {
  if (links.length === 0) return first;
  let next = 0;

  function operandBefore(level: number): Expression {
    return level > TIGHTEST ? operandAt(next) : climb(level);
  }

  function operandAt(position: number): Expression {
    const link = links[position - 1];
    return link === undefined || "list" in link ? first : link.right;
  }

  function climb(level: number): Expression {
    let left = operandBefore(level + 1);
    for (let link = links[next]; link !== undefined && precedenceOf(link) === level; link = links[next]) {
      next++;
      if ("list" in link) {
        const { list, isNegated } = link;
        left = { kind: "in", left, list, isNegated, start: left.start, end: list.end };
        continue;
      }
      const right = operandBefore(level + 1);
      left =
        (level === RELATION ? rangeFrom(left, link.operator, right) : undefined) ?? join(left, link.operator, right);
    }
    return left;
  }

  /** `1 < a <= 5`: a column between two relations of the same direction. */
  function rangeFrom(left: Expression, operator: string, middle: Expression): Expression | undefined {
    const link = links[next];
    if (middle.kind !== "identifier" || link === undefined || "list" in link) return undefined;
    const second = link.operator;
    if (PRECEDENCE[second] !== RELATION || second[0] !== operator[0]) return undefined;
    next++;
    const right = operandBefore(RELATION + 1);
    const isUpwards = second[0] === "<";
    const inclusive = [operator.endsWith("="), second.endsWith("=")] as const;
    return {
      kind: "range",
      column: middle,
      lower: isUpwards ? left : right,
      upper: isUpwards ? right : left,
      lowerInclusive: inclusive[isUpwards ? 0 : 1],
      upperInclusive: inclusive[isUpwards ? 1 : 0],
      start: left.start,
      end: right.end,
    };
  }

  return climb(OR);
}

function join(left: Expression, operator: string, right: Expression): Expression {
  const span = { start: left.start, end: right.end };
  const level = PRECEDENCE[operator]!;
  if (level === OR || level === AND) {
    const word = level === OR ? "or" : "and";
    if (left.kind !== "logic" || left.operator !== word) {
      return { kind: "logic", operator: word, items: [left, right], ...span };
    }
    left.items.push(right);
    left.end = right.end;
    return left;
  }
  if (level === 5 || level === RELATION) {
    return { kind: "compare", operator: operator as Comparison, left, right, ...span };
  }
  if (level >= 9) return { kind: "arithmetic", operator: operator as ArithmeticOperator, left, right, ...span };
  return { kind: "bits", operator: operator as BitOperator, left, right, ...span };
}
