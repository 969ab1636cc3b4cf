/**
 * The syntax tree against the schema: every name is resolved, every constant is folded and cast to the type that it
 * meets, every operator is checked. What comes out needs no more checks.
 */
import type { CollectionSchema, Scalar } from "../schema.ts";
import { type Expression, FLIPPED, type Literal } from "./ast.ts";
import {
  calculate,
  castTo,
  compareConstants,
  isNumber,
  jsonConstant,
  type NumberLiteral,
  numberConstant,
  orderConstants,
  refuseZeroDivisor,
  show,
} from "./constant.ts";
import { isInt64, literalOf } from "./literal.ts";
import { compareWith, planArrayEquals, planCompareColumns } from "./plan-compare.ts";
import { logic, negate } from "./plan-logic.ts";
import type { Arithmetic, JsonOperand, Operand, PlanNode } from "./plan-node.ts";
import { type Resolved, resolveName } from "./resolve.ts";
import { fail, isNumericOperand, type Kind, predicate, type Term } from "./term.ts";

export interface PlanContext {
  text: string;
  schema: CollectionSchema;
  templateValues: Record<string, unknown>;
}

/** @throws ExpressionError when the tree is not a condition, or does not fit the schema */
export function planCondition(context: PlanContext, tree: Expression): PlanNode {
  const term = visit(context, tree);
  if (term.kind === "constant" && term.literal.type === "bool") return { op: "constant", value: term.literal.value };
  return predicateOf(term) ?? fail(`predicate is not a boolean expression: ${source(context, tree)}`, tree);
}

function source(context: PlanContext, node: Expression): string {
  return context.text.slice(node.start, node.end);
}

/** A term as a condition: a predicate, or a bool column alone. */
function predicateOf(term: Term): PlanNode | undefined {
  if (term.kind === "predicate") return term.node;
  if (term.kind !== "operand" || term.operand.from !== "column" || term.operand.type !== "Bool") return undefined;
  return { op: "compare", operand: term.operand, comparison: "==", value: true };
}

function visit(context: PlanContext, node: Expression): Term {
  switch (node.kind) {
    case "literal":
      return planLiteral(node);
    case "array":
      return {
        kind: "constant",
        literal: { type: "array", items: node.items.map((item) => constantAt(context, item)) },
      };
    case "template":
      return { kind: "constant", literal: templateValue(context, node) };
    case "identifier":
      return resolveName(context.schema, node.name, node.path, node.start);
    case "call":
      return planCall(context, node);
    case "nullTest":
      return planNullTest(context, node);
    case "exists":
      return predicate({ op: "exists", operand: existsOperand(context, node), isNullTest: false });
    case "like":
      return planLike(context, node);
    case "unary":
      return planUnary(context, node);
    case "arithmetic":
      return planArithmetic(context, node);
    case "bits":
      return fail(`${BIT_NAMES[node.operator]} is not supported: ${source(context, node)}`, node);
    case "in":
      return planIn(context, node);
    case "compare":
      return planCompare(context, node);
    case "range":
      return planRange(context, node);
    case "logic":
      return planLogic(context, node);
    case "time":
      return fail("timestamptz comparison is not supported yet", node);
  }
}

const BIT_NAMES = { "&": "BitAnd", "|": "BitOr", "^": "BitXor", "<<": "shift", ">>": "shift" } as const;

function planLiteral(node: Kind<"literal">): Term {
  const { literal } = node;
  if (literal.type === "int" && !isInt64(literal.value)) fail(`integer ${literal.value} does not fit in 64 bits`, node);
  return { kind: "constant", literal };
}

function constantAt(context: PlanContext, node: Expression): Literal {
  const term = visit(context, node);
  if (term.kind !== "constant") fail(`expected a constant, got ${source(context, node)}`, node);
  return term.literal;
}

function templateValue(context: PlanContext, node: Kind<"template">): Literal {
  if (!Object.hasOwn(context.templateValues, node.name)) {
    fail(`the value of expression template variable name {${node.name}} is not found`, node);
  }
  return literalOf(context.templateValues[node.name], node.name, node.start);
}

function planLogic(context: PlanContext, node: Kind<"logic">): Term {
  const items = node.items.map((item) => {
    const term = visit(context, item);
    if (term.kind === "constant" && term.literal.type === "bool") {
      fail(`a literal true or false cannot be combined by '${node.operator}'`, item);
    }
    return predicateOf(term) ?? fail(`'${node.operator}' can only be used between boolean expressions`, item);
  });
  return predicate(logic(node.operator, items));
}

function planUnary(context: PlanContext, node: Kind<"unary">): Term {
  if (node.operator === "~") return fail(`BitNot is not supported: ${source(context, node)}`, node);
  if (node.operator === "not") return planNot(visit(context, node.operand), node);
  // 2^63 is no int64, -2^63 is: the literal behind a minus is not checked alone.
  const { operand } = node;
  const term: Term =
    operand.kind === "literal" ? { kind: "constant", literal: operand.literal } : visit(context, operand);
  if (term.kind !== "constant" || !isNumber(term.literal)) {
    return fail(`unary '${node.operator}' can only be applied on a numeric constant`, node);
  }
  const literal = node.operator === "-" ? negated(term.literal) : term.literal;
  if (literal.type === "int" && !isInt64(literal.value)) fail(`integer ${literal.value} does not fit in 64 bits`, node);
  return { kind: "constant", literal };
}

function negated(literal: NumberLiteral): NumberLiteral {
  return literal.type === "int" ? { type: "int", value: -literal.value } : { type: "float", value: -literal.value };
}

function planNot(term: Term, node: Kind<"unary">): Term {
  if (term.kind === "constant" && term.literal.type === "bool") {
    return { kind: "constant", literal: { type: "bool", value: !term.literal.value } };
  }
  return predicate(
    negate(predicateOf(term) ?? fail("'not' can only be applied on a boolean expression, use parentheses", node)),
  );
}

function planArithmetic(context: PlanContext, node: Kind<"arithmetic">): Term {
  const left = visit(context, node.left);
  const right = visit(context, node.right);
  const { operator } = node;
  if (left.kind === "constant" && right.kind === "constant") {
    return { kind: "constant", literal: calculate(operator, left.literal, right.literal, node.start) };
  }
  if (operator === "**") return fail("power can only apply on constants", node);
  if (left.kind === "arithmetic" || right.kind === "arithmetic") {
    return fail("complicated arithmetic operations are not supported", node);
  }
  if (left.kind !== "constant" && right.kind !== "constant") {
    return fail("not supported to do arithmetic operations between multiple fields", node);
  }
  const isFieldRight = left.kind === "constant";
  if (isFieldRight && operator !== "+" && operator !== "*") {
    return fail(`'${operator}' needs the field on its left side`, node);
  }
  const field = isFieldRight ? right : left;
  const { literal } = (isFieldRight ? left : right) as Extract<Term, { kind: "constant" }>;
  if (field.kind !== "operand" || !isNumericOperand(field.operand) || !isNumber(literal)) {
    return fail(`'${operator}' can only be used between a numeric field and a numeric constant`, node);
  }
  refuseZeroDivisor(operator, literal, node.start);
  const isInteger = isIntegerOperand(field.operand) && literal.type === "int";
  if (operator === "%" && !isInteger && !(field.operand.from === "json" && literal.type === "int")) {
    return fail("'%' can only be used on integers", node);
  }
  const arithmetic: Arithmetic = { operator, value: numberConstant(literal), isInteger };
  return { kind: "arithmetic", operand: field.operand, arithmetic };
}

function isIntegerOperand(operand: Operand): boolean {
  return operand.from !== "json" && operand.type.startsWith("Int");
}

function planCompare(context: PlanContext, node: Kind<"compare">): Term {
  const left = visit(context, node.left);
  const right = visit(context, node.right);
  if (left.kind === "predicate" || right.kind === "predicate") {
    return fail("boolean expressions cannot be compared, use parentheses and 'not'", node);
  }
  if (left.kind === "field" || right.kind === "field") return planArrayEquals(node, left, right);
  if (left.kind === "constant" && right.kind === "constant") {
    const value = compareConstants(node.operator, left.literal, right.literal, node.start);
    return { kind: "constant", literal: { type: "bool", value } };
  }
  if (right.kind === "constant" && left.kind !== "constant") {
    return predicate(compareWith(left, node.operator, right.literal, node.right));
  }
  if (left.kind === "constant" && right.kind !== "constant") {
    return predicate(compareWith(right, FLIPPED[node.operator], left.literal, node.left));
  }
  return planCompareColumns(node, left, right);
}

function planRange(context: PlanContext, node: Kind<"range">): Term {
  const column = visit(context, node.column);
  if (column.kind === "field") {
    return fail(
      column.field.type === "Array"
        ? "can not comparisons array fields directly"
        : `vector field ${column.field.name} cannot be compared`,
      node.column,
    );
  }
  if (column.kind !== "operand") return fail("expected a field between the bounds of a range", node.column);
  const lower = constantAt(context, node.lower);
  const upper = constantAt(context, node.upper);
  const order = orderConstants(lower, upper, node.lower.start);
  if (lower.type === "bool") return fail("Bool values have no order, use == or !=", node);
  if (order > 0 || (order === 0 && !(node.lowerInclusive && node.upperInclusive))) {
    return fail("invalid range: lowerbound is greater than upperbound", node);
  }
  return predicate(
    logic("and", [
      compareWith(column, node.lowerInclusive ? ">=" : ">", lower, node.lower),
      compareWith(column, node.upperInclusive ? "<=" : "<", upper, node.upper),
    ]),
  );
}

function planIn(context: PlanContext, node: Kind<"in">): Term {
  const left = visit(context, node.left);
  if (left.kind !== "operand") return fail("'in' can only be used on a scalar field, array element or json path", node);
  const list = constantAt(context, node.list);
  if (list.type !== "array") return fail(`'in' needs a list, got ${show(list)}`, node.list);
  if (list.items.length === 0) return predicate({ op: "constant", value: node.isNegated });
  const { operand } = left;
  const values = list.items.map((item) => {
    if (item.type === "array") return fail("a list of 'in' holds single values, not arrays", node.list);
    // The constant of a single value is a single value.
    return operand.from === "json" ? (jsonConstant(item) as Scalar) : castTo(operand.type, item, node.list.start);
  });
  const condition: PlanNode = { op: "in", operand, values };
  return predicate(node.isNegated ? negate(condition) : condition);
}

function planLike(context: PlanContext, node: Kind<"like">): Term {
  const left = visit(context, node.left);
  const isText =
    left.kind === "operand" &&
    (left.operand.from === "json" ? left.operand.isLength !== true : left.operand.type === "VarChar");
  if (!isText) return fail("like operation on non-string or no-json field is unsupported", node);
  const pattern = constantAt(context, node.pattern);
  if (pattern.type !== "string") return fail(`'like' needs a string, got ${show(pattern)}`, node.pattern);
  if (/(?:^|[^\\])(?:\\\\)*\\$/.test(pattern.value)) {
    return fail("a pattern of 'like' cannot end with a single escape character", node.pattern);
  }
  return predicate({ op: "like", operand: left.operand, pattern: pattern.value });
}

function planNullTest(context: PlanContext, node: Kind<"nullTest">): Term {
  const term = visit(context, node.column);
  if (term.kind === "field" && term.field.type === "FloatVector") {
    return fail("IsNull/IsNotNull operations are not supported on vector fields", node);
  }
  if (term.kind === "operand" && term.operand.from === "element") {
    return fail("IsNull/IsNotNull operations are not supported on array elements", node);
  }
  const isNull = nullTestOf(term as Resolved);
  return predicate(node.isNegated ? negate(isNull) : isNull);
}

function nullTestOf(term: Resolved): PlanNode {
  if (term.kind === "field") return { op: "isNull", fieldId: term.field.fieldId, hasDefault: false };
  const { operand } = term;
  if (operand.from === "json" && operand.path.length > 0) {
    return negate({ op: "exists", operand, isNullTest: true });
  }
  const hasDefault = operand.from === "column" && operand.defaultValue !== undefined;
  return { op: "isNull", fieldId: operand.fieldId, hasDefault };
}

function existsOperand(context: PlanContext, node: Kind<"exists">): JsonOperand {
  const term = visit(context, node.operand);
  if (term.kind !== "operand" || term.operand.from !== "json" || term.operand.path.length === 0) {
    return fail("exists operations are supported for json paths and dynamic keys only", node);
  }
  return term.operand;
}

const CONTAINS = /^(?:json|array)_contains(?:_(all|any))?$|^(?:JSON|ARRAY)_CONTAINS(?:_(ALL|ANY))?$/;
const NOT_YET = /^(?:text_match|phrase_match|random_sample|st_[a-z]+|TEXT_MATCH|PHRASE_MATCH|RANDOM_SAMPLE|ST_[A-Z]+)$/;

function planCall(context: PlanContext, node: Kind<"call">): Term {
  const contains = CONTAINS.exec(node.name);
  if (contains !== null) return planContains(context, node, (contains[1] ?? contains[2])?.toLowerCase());
  if (node.name === "array_length" || node.name === "ARRAY_LENGTH") return planLength(context, node);
  if (NOT_YET.test(node.name)) return fail(`${node.name} is not supported yet`, node);
  return fail(`function ${node.name} is not known`, node);
}

function planContains(context: PlanContext, node: Kind<"call">, mode: string | undefined): Term {
  const [columnAt, valueAt] = node.args;
  if (columnAt === undefined || valueAt === undefined || node.args.length !== 2) {
    return fail(`${node.name} takes a field and a value`, node);
  }
  const column = containerOf(context, node, columnAt);
  const literal = constantAt(context, valueAt);
  if (mode !== undefined && literal.type !== "array") {
    return fail(`${node.name} operation element must be an array, got ${show(literal)}`, valueAt);
  }
  const items = mode !== undefined && literal.type === "array" ? literal.items : [literal];
  const values = items.map((item) =>
    column.from === "json" ? jsonConstant(item) : castTo(column.elementType, item, valueAt.start),
  );
  return predicate({ op: "contains", mode: mode === "all" ? "all" : "any", operand: column, values });
}

function containerOf(
  context: PlanContext,
  node: Kind<"call">,
  at: Expression,
): Extract<PlanNode, { op: "contains" }>["operand"] {
  const term = visit(context, at);
  if (term.kind === "operand" && term.operand.from === "json" && term.operand.isLength !== true) return term.operand;
  if (term.kind === "field" && term.field.type === "Array") {
    return { from: "array", fieldId: term.field.fieldId, elementType: term.field.elementType! };
  }
  return fail(`${node.name} operation is only supported on json or array fields, got: ${source(context, at)}`, at);
}

function planLength(context: PlanContext, node: Kind<"call">): Term {
  const [at] = node.args;
  if (at === undefined || node.args.length !== 1) return fail("array_length takes one field", node);
  const container = containerOf(context, node, at);
  const operand: Operand =
    container.from === "json"
      ? { ...container, isLength: true }
      : { from: "length", fieldId: container.fieldId, type: "Int32" };
  return { kind: "operand", operand };
}
