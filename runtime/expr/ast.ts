/**
 * The syntax tree of a filter: what the text says, before the schema is asked. Every node knows the part of the text
 * that it came from (`start` inclusive, `end` exclusive, in UTF-16 units), so that any later error can point at it.
 */

export interface Span {
  start: number;
  end: number;
}

/** A constant. Integers are kept exact and apart from floats: an integer column takes the one and refuses the other. */
export type Literal =
  | { type: "bool"; value: boolean }
  | { type: "int"; value: bigint }
  | { type: "float"; value: number }
  | { type: "string"; value: string }
  /** Microseconds since 1970 in UTC. */
  | { type: "time"; value: bigint }
  | { type: "array"; items: Literal[] };

export type Comparison = "==" | "!=" | "<" | "<=" | ">" | ">=";
/** The operator with its sides exchanged: `a < b` is `b > a`. */
export const FLIPPED: Record<Comparison, Comparison> = {
  "==": "==",
  "!=": "!=",
  "<": ">",
  "<=": ">=",
  ">": "<",
  ">=": "<=",
};
export type ArithmeticOperator = "+" | "-" | "*" | "/" | "%" | "**";
export type BitOperator = "&" | "|" | "^" | "<<" | ">>";

export type Expression = Span &
  (
    | { kind: "literal"; literal: Literal }
    | { kind: "array"; items: Expression[] }
    /**
     * An array of many numbers (bigints beyond 2^53) or many texts. `floats`: positions of whole numbers that are written as
     * floats.
     */
    | { kind: "list"; values: (number | bigint)[] | string[]; floats: ReadonlySet<number> }
    | { kind: "template"; name: string }
    /** `name`, or `name["key"][0]`: the path holds object keys as strings and positions as numbers. */
    | { kind: "identifier"; name: string; path: (string | number)[] }
    /** `options`: the named arguments, such as `minimum_should_match = 2`. */
    | { kind: "call"; name: string; args: Expression[]; options: { name: string; value: Expression }[] }
    | { kind: "nullTest"; column: Expression; isNegated: boolean }
    | { kind: "exists"; operand: Expression }
    | { kind: "like"; left: Expression; pattern: Expression }
    | { kind: "unary"; operator: "+" | "-" | "~" | "not"; operand: Expression }
    | { kind: "arithmetic"; operator: ArithmeticOperator; left: Expression; right: Expression }
    | { kind: "bits"; operator: BitOperator; left: Expression; right: Expression }
    | { kind: "in"; left: Expression; list: Expression; isNegated: boolean }
    | { kind: "compare"; operator: Comparison; left: Expression; right: Expression }
    /** `lower < column <= upper`, also when it was written downwards. */
    | {
        kind: "range";
        column: Expression;
        lower: Expression;
        upper: Expression;
        lowerInclusive: boolean;
        upperInclusive: boolean;
      }
    | { kind: "logic"; operator: "and" | "or"; items: Expression[] }
    /** `iso '…'` and `interval '…'`, the text between the quotes. */
    | { kind: "time"; unit: "iso" | "interval"; text: string }
  );
