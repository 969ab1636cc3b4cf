/**
 * The nodes of a filter plan: plain data, checked against the schema, fields by id. A plan is made once at the proxy
 * and evaluated on other nodes, which know neither the text nor the schema, so operands carry the types they need.
 *
 * Invariants: constants fit the operand beside them (no casts are left to evaluation); integers are numbers where
 * exact (|x| <= 2^53 - 1), else bigints within int64; constants compared with a Float column are rounded to float32;
 * the items of `and` and `or` stand cheapest first.
 */
import type { GeometryCondition } from "../geo/geometry-test.ts";
import type { Scalar, ScalarType } from "../schema.ts";
import type { Interval } from "../timestamptz.ts";
import type { Comparison } from "./ast.ts";
import type { GroupKey } from "./group-values.ts";

export type { Comparison };

/** Types of single values; JSON values have no type of their own. */
export type ValueType = Exclude<ScalarType, "JSON">;

export type JsonConstant = Scalar | JsonConstant[];

/** A scalar column. `defaultValue` stands for every row of a batch that does not have the column yet. */
export interface ColumnOperand {
  from: "column";
  fieldId: number;
  type: ValueType;
  defaultValue?: Scalar;
}

/** One element of each row's array; unknown where the array is shorter. */
export interface ElementOperand {
  from: "element";
  fieldId: number;
  type: ValueType;
  index: number;
}

/** The number of elements of each row's array. */
export interface LengthOperand {
  from: "length";
  fieldId: number;
  type: "Int32";
}

/** The value at a path of each row's JSON; unknown where there is none. An empty path is the whole value. */
export interface JsonOperand {
  from: "json";
  fieldId: number;
  path: (string | number)[];
  /** $meta: a row without it has no dynamic keys, so it counts as `{}` and not as null. */
  isDynamic: boolean;
  /** Takes the length of the array at the path instead of the value. */
  isLength?: true;
}

export type TypedOperand = ColumnOperand | ElementOperand | LengthOperand;
export type Operand = TypedOperand | JsonOperand;

/** `operand operator value`, before it is compared. In integers when both are: `/` then truncates towards zero. */
export interface Arithmetic {
  operator: "+" | "-" | "*" | "/" | "%";
  value: number | bigint;
  isInteger: boolean;
}

export interface CompareNode {
  op: "compare";
  operand: Operand;
  arithmetic?: Arithmetic;
  /** Added to the operand, a Timestamptz column, before the comparison. An interval without months moved the constant instead. */
  interval?: Interval;
  comparison: Comparison;
  /** An array only with a JSON operand, and only for == and !=. */
  value: JsonConstant;
}

export interface CompareColumnsNode {
  op: "compareColumns";
  left: ColumnOperand;
  comparison: Comparison;
  right: ColumnOperand;
}

/** Never empty: an empty list is a constant. */
export interface InNode {
  op: "in";
  operand: Operand;
  values: Scalar[];
}

export interface LikeNode {
  op: "like";
  operand: Operand;
  pattern: string;
}

/** Whether the whole field is null. Never unknown. */
export interface IsNullNode {
  op: "isNull";
  fieldId: number;
  hasDefault: boolean;
}

/** Whether a JSON path holds something: not missing, not null, not an empty container. */
export interface ExistsNode {
  op: "exists";
  operand: JsonOperand;
  /** In `is not null`, a row whose JSON is null has no such path; in EXISTS it is unknown. */
  isNullTest: boolean;
}

export interface ArrayEqualsNode {
  op: "arrayEquals";
  fieldId: number;
  elementType: ValueType;
  values: Scalar[];
}

/** Whether the array holds all or any of the values. */
export interface ContainsNode {
  op: "contains";
  mode: "all" | "any";
  operand: JsonOperand | { from: "array"; fieldId: number; elementType: ValueType };
  /** Arrays only with a JSON operand. */
  values: JsonConstant[];
}

/** Whether the row's group (group-values.ts) is among these. Never unknown. */
export interface InGroupsNode {
  op: "inGroups";
  key: GroupKey;
  groups: string[];
}

/** Whether a text holds tokens of the constant's: at least `minTokens` different ones, or all in a row. */
export interface MatchNode {
  op: "match";
  operand: ColumnOperand;
  /** The field's analyzer, JSON text; absent: the standard one. */
  analyzerParams?: string;
  text: string;
  /** match: 1 or more. */
  minTokens?: number;
  /** phrase: by how many places in all the tokens may be displaced. */
  slop?: number;
}

/** The relation of a field's geometry to a constant one. */
export interface GeometryNode extends GeometryCondition {
  op: "geometry";
  fieldId: number;
}

export type PlanNode =
  | { op: "constant"; value: boolean }
  | { op: "and" | "or"; items: PlanNode[] }
  | { op: "not"; item: PlanNode }
  | CompareNode
  | CompareColumnsNode
  | InNode
  | LikeNode
  | IsNullNode
  | ExistsNode
  | ArrayEqualsNode
  | ContainsNode
  | InGroupsNode
  | MatchNode
  | GeometryNode;
