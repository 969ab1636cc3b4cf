/**
 * Filters as plans. The proxy makes a plan from the text of a filter and the collection's schema; it travels to the
 * nodes that hold rows, which evaluate it (evaluate.ts) and know neither the text nor the schema.
 */
import { VdbError } from "../errors.ts";
import { type CollectionSchema, primaryField } from "../schema.ts";
import type { PrimaryKey } from "../segment/column.ts";
import { ExpressionError } from "./expression-error.ts";
import { parseFilter } from "./parse.ts";
import type { PlanNode } from "./plan-node.ts";
import { planCondition } from "./planner.ts";

/** Plain data: it crosses the wire as it is. */
export interface FilterPlan {
  root: PlanNode;
  /** The columns that evaluation reads, ascending. */
  fieldIds: number[];
  primaryFieldId: number;
}

export interface PlanOptions {
  /** What `{name}` in the text stands for: bool, number, bigint, string, or arrays of these. */
  templateValues?: Record<string, unknown>;
  purpose: "query" | "delete";
}

/** Longer filters (lists of thousands of keys) are cut in messages. */
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
  const root = planRoot(text, schema, options);
  if (options.purpose === "delete" && root.op === "constant" && root.value) {
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
  };
}

function planRoot(text: string, schema: CollectionSchema, options: PlanOptions): PlanNode {
  if (text.trim() === "") return { op: "constant", value: true };
  try {
    return planCondition({ text, schema, templateValues: options.templateValues ?? {} }, parseFilter(text));
  } catch (error) {
    if (!(error instanceof ExpressionError)) throw error;
    throw new VdbError(
      "invalid_parameter",
      `failed to create ${options.purpose} plan: cannot parse expression: ${shown(text)}, error: ${error.message} at column ${error.offset + 1}`,
      { details: { column: error.offset + 1 } },
    );
  }
}

function shown(text: string): string {
  return text.length <= TEXT_SHOWN_MAX ? text : `${text.slice(0, TEXT_SHOWN_MAX)}…`;
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
    case "isNull":
    case "arrayEquals":
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
  const { root } = plan;
  if (root.op !== "compare" && root.op !== "in") return null;
  if (root.operand.from !== "column" || root.operand.fieldId !== plan.primaryFieldId) return null;
  // Primary keys are Int64 or VarChar, so the planner has left no other constants here.
  if (root.op === "in") return root.values as PrimaryKey[];
  return root.comparison === "==" && root.arithmetic === undefined ? [root.value as PrimaryKey] : null;
}
