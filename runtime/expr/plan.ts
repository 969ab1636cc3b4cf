/**
 * Filters as plans. The proxy makes a plan from the text of a filter and the collection's schema; it travels to the
 * nodes that hold rows, which evaluate it (evaluate.ts) and know neither the text nor the schema.
 */
import { VdbError } from "../errors.ts";
import { type CollectionSchema, primaryField } from "../schema.ts";
import type { PrimaryKey } from "../segment/column.ts";
import { ExpressionError } from "./expression-error.ts";
import { parseFilter } from "./parse.ts";
import { splitSample } from "./plan-call.ts";
import type { PlanNode } from "./plan-node.ts";
import { newPlanContext, planCondition } from "./planner.ts";

/** Plain data: it crosses the wire as it is. */
export interface FilterPlan {
  root: PlanNode;
  /** The columns that evaluation reads, ascending. */
  fieldIds: number[];
  primaryFieldId: number;
  /** Takes only a part of the rows for which `root` is true. */
  sample?: Sample;
  /** The protocol version that knows all parts of the plan (runtime/protocol/versions.ts); absent: the first. */
  version?: number;
  /** The collection's scalar indexes that may answer parts of the plan; without one the rows are read. */
  indexes?: IndexHint[];
}

/** A scalar index as evaluation needs to know it. */
export interface IndexHint {
  fieldId: number;
  /** JSON: the path that is indexed. */
  path?: (string | number)[];
  /** JSON: every path below is indexed too. */
  isFlat?: true;
  /** NGRAM: bytes of a gram. */
  gram?: number;
  /** Geometry: the boxes around them. */
  hasBoxes?: true;
}

/** Each row is taken or not by its place and the seed: the same rows wherever and whenever the plan is evaluated. */
export interface Sample {
  /** Above 0, below 1. */
  fraction: number;
  /** 32 bits. */
  seed: number;
}

export interface PlanOptions {
  /** What `{name}` in the text stands for: bool, number, bigint, string, or arrays of these. */
  templateValues?: Record<string, unknown>;
  purpose: "query" | "delete";
  /** The time zone of timestamps without an offset: an IANA name, UTC by default. */
  timeZone?: string;
  /** The seed of random_sample: filters with the same seed take the same rows. */
  seed?: number;
}

/** Longer texts are refused: reading them would hold up everybody else. Templates carry lists of any length. */
const FILTER_CHARS_MAX = 4 * 1024 * 1024;

/** Longer filters (lists of thousands of keys) are shortened in messages. */
const TEXT_SHOWN_MAX = 1_000;

/**
 * A filter text checked against the schema. Blank text is the filter of all rows, for queries only.
 * @throws VdbError invalid_parameter when the text is no filter or does not fit the schema, and for deletes that name all rows
 */
export function planFilter(
  text: string,
  schema: CollectionSchema,
  options: PlanOptions = { purpose: "query" },
): FilterPlan {
  const { root, fraction } = planRoot(text, schema, options);
  if (options.purpose === "delete" && fraction === undefined && root.op === "constant" && root.value) {
    throw new VdbError(
      "invalid_parameter",
      `failed to create delete plan: delete plan can't be empty or always true: ${shown(text)}`,
    );
  }
  const fieldIds = new Set<number>();
  collectFields(root, fieldIds);
  return {
    root,
    fieldIds: [...fieldIds].sort((a, b) => a - b),
    primaryFieldId: primaryField(schema).fieldId,
    ...(fraction === undefined ? {} : { sample: { fraction, seed: options.seed ?? 0 } }),
    ...(hasGeometry(root) ? { version: 2 } : {}),
  };
}

function planRoot(
  text: string,
  schema: CollectionSchema,
  options: PlanOptions,
): { root: PlanNode; fraction?: number | undefined } {
  if (text.trim() === "") return { root: { op: "constant", value: true } };
  const { templateValues = {}, timeZone = "UTC", purpose } = options;
  try {
    if (text.length > FILTER_CHARS_MAX) {
      const message = `expression of ${text.length} characters is too long, at most ${FILTER_CHARS_MAX} are read: give long lists as templates`;
      throw new ExpressionError(message, FILTER_CHARS_MAX);
    }
    const context = newPlanContext(text, schema, { templateValues, timeZone });
    const { condition, fraction } = splitSample(context, parseFilter(text));
    return { root: condition === null ? { op: "constant", value: true } : planCondition(context, condition), fraction };
  } catch (error) {
    if (!(error instanceof ExpressionError)) throw error;
    const { line, column } = placeIn(text, error.offset);
    throw new VdbError(
      "invalid_parameter",
      `failed to create ${purpose} plan: cannot parse expression: ${shown(text)}, error: ${error.message} at line ${line}, column ${column}`,
      { details: { line, column } },
    );
  }
}

/** Both counted from 1, columns in UTF-16 units. */
function placeIn(text: string, offset: number): { line: number; column: number } {
  const before = text.slice(0, offset);
  const lineStart = before.lastIndexOf("\n") + 1;
  return { line: before.split("\n").length, column: offset - lineStart + 1 };
}

function shown(text: string): string {
  return text.length <= TEXT_SHOWN_MAX ? text : `${text.slice(0, TEXT_SHOWN_MAX)}…`;
}

function hasGeometry(node: PlanNode): boolean {
  if (node.op === "and" || node.op === "or") return node.items.some(hasGeometry);
  return node.op === "not" ? hasGeometry(node.item) : node.op === "geometry";
}

function collectFields(node: PlanNode, into: Set<number>): void {
  switch (node.op) {
    case "constant":
      return;
    case "and":
    case "or":
      for (const item of node.items) collectFields(item, into);
      return;
    case "not":
      collectFields(node.item, into);
      return;
    case "compareColumns":
      into.add(node.left.fieldId).add(node.right.fieldId);
      return;
    case "inGroups":
      into.add(node.key.fieldId);
      return;
    case "isNull":
    case "arrayEquals":
    case "geometry":
      into.add(node.fieldId);
      return;
    default:
      into.add(node.operand.fieldId);
  }
}

/**
 * The keys that a filter names when it is exactly `pk == x` or `pk in [...]`, in the order written and with repeats;
 * null for every other filter. A delete then needs no search for its rows.
 */
export function primaryKeysOf(plan: FilterPlan): PrimaryKey[] | null {
  const { root, sample } = plan;
  if (sample !== undefined || (root.op !== "compare" && root.op !== "in")) return null;
  if (root.operand.from !== "column" || root.operand.fieldId !== plan.primaryFieldId) return null;
  // Primary keys are Int64 or VarChar, so the planner has left no other constants here.
  if (root.op === "in") return root.values as PrimaryKey[];
  return root.comparison === "==" && root.arithmetic === undefined ? [root.value as PrimaryKey] : null;
}
