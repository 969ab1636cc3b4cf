/** Functions: their arguments, and the plan nodes that they become. */
import type { Expression, Literal } from "./ast.ts";
import { castTo, isNumber, jsonConstant, show } from "./constant.ts";
import { planGeometry } from "./plan-geometry.ts";
import { plainList } from "./plan-list.ts";
import type { ColumnOperand, ContainsNode, JsonConstant, MatchNode, Operand } from "./plan-node.ts";
import { constantAt, fail, type Kind, type PlanContext, predicate, source, type Term } from "./term.ts";

const MIN_TOKENS_MAX = 1_000;
const SLOP_MAX = 2 ** 32 - 1;
/** A fraction closer to 0 or 1 is not a sample. */
const FRACTION_MARGIN = 1e-6;

type Call = Kind<"call">;

/** Names are all-lower or ALL-UPPER, as keywords are. */
export function planCall(context: PlanContext, node: Call): Term {
  const name = /^[A-Z_]+$/.test(node.name) ? node.name.toLowerCase() : node.name;
  if (name !== "text_match" && node.options.length > 0) {
    const option = node.options[0]!;
    return fail(`${node.name} has no option ${option.name}`, option.value);
  }
  switch (name) {
    case "json_contains":
    case "array_contains":
      return planContains(context, node, undefined);
    case "json_contains_all":
    case "array_contains_all":
      return planContains(context, node, "all");
    case "json_contains_any":
    case "array_contains_any":
      return planContains(context, node, "any");
    case "array_length":
      return planLength(context, node);
    case "text_match":
      return planTextMatch(context, node);
    case "phrase_match":
      return planPhraseMatch(context, node);
    case "random_sample":
      return fail("random_sample can only be the whole filter, or the last operand of a top-level 'and'", node);
    default:
      if (name.startsWith("st_")) return planGeometry(context, node, name.slice(3));
      return fail(`function ${node.name} is not known`, node);
  }
}

function planContains(context: PlanContext, node: Call, mode: "all" | "any" | undefined): Term {
  const [columnAt, valueAt] = node.args;
  if (columnAt === undefined || valueAt === undefined || node.args.length !== 2) {
    return fail(`${node.name} takes a field and a value`, node);
  }
  const column = containerOf(context, node, columnAt);
  const elementType = column.from === "json" ? null : column.elementType;
  const plain = mode === undefined ? undefined : plainList(context, valueAt, elementType);
  if (plain !== undefined) return containing(mode, column, plain);
  const literal = constantAt(context, valueAt);
  if (mode !== undefined && literal.type !== "array") {
    return fail(`${node.name} operation element must be an array, got ${show(literal)}`, valueAt);
  }
  const items = mode !== undefined && literal.type === "array" ? literal.items : [literal];
  const values = items.map((item, i) => {
    const at = (mode !== undefined && valueAt.kind === "array" ? valueAt.items[i] : valueAt) ?? valueAt;
    return column.from === "json" ? jsonConstant(item, at.start) : castTo(column.elementType, item, at.start);
  });
  return containing(mode, column, values);
}

function containing(mode: "all" | "any" | undefined, operand: ContainsNode["operand"], values: JsonConstant[]): Term {
  return predicate({ op: "contains", mode: mode === "all" ? "all" : "any", operand, values });
}

function containerOf(context: PlanContext, node: Call, at: Expression): ContainsNode["operand"] {
  const term = context.visit(at);
  if (term.kind === "operand" && term.operand.from === "json" && term.operand.isLength !== true) return term.operand;
  if (term.kind === "field" && term.field.type === "Array") {
    return { from: "array", fieldId: term.field.fieldId, elementType: term.field.elementType! };
  }
  return fail(`${node.name} operation is only supported on json or array fields, got: ${source(context, at)}`, at);
}

function planLength(context: PlanContext, node: Call): Term {
  const [at] = node.args;
  if (at === undefined || node.args.length !== 1) return fail(`${node.name} takes one field`, node);
  const container = containerOf(context, node, at);
  const operand: Operand =
    container.from === "json"
      ? { ...container, isLength: true }
      : { from: "length", fieldId: container.fieldId, type: "Int32" };
  return { kind: "operand", operand };
}

function planTextMatch(context: PlanContext, node: Call): Term {
  const match = matchOf(context, node, 2);
  let minTokens = 1;
  for (const { name, value } of node.options) {
    if (name !== "minimum_should_match" && name !== "MINIMUM_SHOULD_MATCH") {
      return fail(`${node.name} has no option ${name}, expected minimum_should_match`, value);
    }
    const wanted = wholeNumber(constantAt(context, value));
    if (wanted === undefined || wanted < 1 || wanted > MIN_TOKENS_MAX) {
      return fail(`minimum_should_match should be an integer from 1 to ${MIN_TOKENS_MAX}`, value);
    }
    minTokens = wanted;
  }
  return predicate({ ...match, minTokens });
}

function planPhraseMatch(context: PlanContext, node: Call): Term {
  const match = matchOf(context, node, 3);
  const [, , slopAt] = node.args;
  const slop = slopAt === undefined ? 0 : wholeNumber(constantAt(context, slopAt));
  if (slop === undefined || slop < 0 || slop > SLOP_MAX) {
    return fail(`invalid slop value: ${source(context, slopAt!)}, expected an integer from 0 to ${SLOP_MAX}`, slopAt!);
  }
  return predicate({ ...match, slop });
}

function matchOf(context: PlanContext, node: Call, argsMax: number): MatchNode {
  const [fieldAt, textAt] = node.args;
  if (fieldAt === undefined || textAt === undefined || node.args.length > argsMax) {
    return fail(`${node.name} takes a field and a text`, node);
  }
  const operand = textField(context, node, fieldAt);
  const field = context.schema.fields.find(({ fieldId }) => fieldId === operand.fieldId)!;
  if (field.enableMatch !== true) return fail(`field "${field.name}" does not enable match`, fieldAt);
  const literal = constantAt(context, textAt);
  if (literal.type !== "string") return fail(`${node.name} needs a string, got ${show(literal)}`, textAt);
  const analyzer = field.analyzerParams === undefined ? {} : { analyzerParams: field.analyzerParams };
  return { op: "match", operand, text: literal.value, ...analyzer };
}

function textField(context: PlanContext, node: Call, at: Expression): ColumnOperand {
  const term = context.visit(at);
  if (term.kind === "operand" && term.operand.from === "column" && term.operand.type === "VarChar") return term.operand;
  return fail(`${node.name} operation on non-string field is unsupported, got: ${source(context, at)}`, at);
}

function wholeNumber(literal: Literal): number | undefined {
  return literal.type === "int" && literal.value <= Number.MAX_SAFE_INTEGER ? Number(literal.value) : undefined;
}

/**
 * Takes `random_sample` off a tree, where it is the whole tree or the last operand of a top-level AND.
 * @throws ExpressionError when the fraction is not a number between 0 and 1
 */
export function splitSample(
  context: PlanContext,
  tree: Expression,
): { condition: Expression | null; fraction?: number } {
  if (isSample(tree)) return { condition: null, fraction: fractionOf(context, tree) };
  if (tree.kind !== "logic" || tree.operator !== "and") return { condition: tree };
  const last = tree.items.at(-1)!;
  if (!isSample(last)) return { condition: tree };
  const rest = tree.items.slice(0, -1);
  const condition = rest.length === 1 ? rest[0]! : { ...tree, items: rest, end: rest.at(-1)!.end };
  return { condition, fraction: fractionOf(context, last) };
}

function isSample(node: Expression): node is Call {
  return node.kind === "call" && (node.name === "random_sample" || node.name === "RANDOM_SAMPLE");
}

function fractionOf(context: PlanContext, node: Call): number {
  const [at] = node.args;
  if (at === undefined || node.args.length !== 1 || node.options.length > 0) {
    return fail(`${node.name} takes one number`, node);
  }
  const literal = constantAt(context, at);
  const fraction = isNumber(literal) ? Number(literal.value) : Number.NaN;
  if (fraction > FRACTION_MARGIN && fraction < 1 - FRACTION_MARGIN) return fraction;
  return fail(
    `the sample factor should be between 0 and 1 and not too close to 0 or 1, got ${source(context, at)}`,
    at,
  );
}
