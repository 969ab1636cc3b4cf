/**
 * The syntax tree against the schema: every name is resolved, every constant is folded and cast to the type that it
 * meets, every operator is checked. What comes out needs no more checks.
 */
import { type CollectionSchema, isVectorType, type Scalar } from "../schema.ts";
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
import { PATTERN_STEPS_MAX, patternOf } from "./like.ts";
import { isInt64, literalOf } from "./literal.ts";
import { planCall } from "./plan-call.ts";
import { compareWith, planArrayEquals, planCompareColumns } from "./plan-compare.ts";
import { listItems, plainList } from "./plan-list.ts";
import { logic, negate } from "./plan-logic.ts";
import type { Arithmetic, JsonOperand, LikeNode, Operand, PlanNode } from "./plan-node.ts";
import { moveTime, planTime, timeFor } from "./plan-time.ts";
import { type Resolved, resolveName } from "./resolve.ts";
import {
  constantAt,
  fail,
  isNumericOperand,
  type Kind,
  type PlanContext,
  predicate,
  source,
  type Term,
} from "./term.ts";

/** @param options the values of templates; the zone of timestamps without an offset */
export function newPlanContext(
  text: string,
  schema: CollectionSchema,
  options: { templateValues: Record<string, unknown>; timeZone: string },
): PlanContext {
  const context: PlanContext = { text, schema, ...options, visit: (node) => visit(context, node) };
  return context;
}

/** @throws ExpressionError when the tree is not a condition, or does not fit the schema */
export function planCondition(context: PlanContext, tree: Expression): PlanNode {
  const term = visit(context, tree);
  if (term.kind === "constant" && term.literal.type === "bool") return { op: "constant", value: term.literal.value };
  return predicateOf(term) ?? fail(`predicate is not a boolean expression: ${source(context, tree)}`, tree);
}

/** A term as a condition: a predicate, or a bool column or element alone. */
function predicateOf(term: Term): PlanNode | undefined {
  if (term.kind === "predicate") return term.node;
  if (term.kind !== "operand" || term.operand.from === "json" || term.operand.type !== "Bool") return undefined;
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
    case "list":
      return { kind: "constant", literal: { type: "array", items: listItems(node) } };
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
      return planTime(context, node);
  }
}

const BIT_NAMES = { "&": "BitAnd", "|": "BitOr", "^": "BitXor", "<<": "shift", ">>": "shift" } as const;

function planLiteral(node: Kind<"literal">): Term {
  const { literal } = node;
  if (literal.type === "int" && !isInt64(literal.value)) fail(`integer ${literal.value} does not fit in 64 bits`, node);
  return { kind: "constant", literal };
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
  // 2^63 is not an int64 but -2^63 is, so the literal after a minus is not checked alone.
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
  if (left.kind === "interval" || right.kind === "interval") return moveTime(node, left, right);
  if (left.kind === "moved" || right.kind === "moved") {
    return fail("complicated arithmetic operations are not supported", node);
  }
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
  if (left.kind === "interval" || right.kind === "interval") {
    return fail("an interval can only be added to or taken from a timestamp", node);
  }
  if (left.kind === "field" || right.kind === "field") return planArrayEquals(node, left, right);
  if (left.kind === "constant" && right.kind === "constant") {
    const value = compareConstants(node.operator, left.literal, right.literal, node.start);
    return { kind: "constant", literal: { type: "bool", value } };
  }
  if (right.kind === "constant" && left.kind !== "constant") {
    const literal = timeFor(context, left, right.literal, node.right);
    return predicate(compareWith(left, node.operator, literal, node.right));
  }
  if (left.kind === "constant" && right.kind !== "constant") {
    const literal = timeFor(context, right, left.literal, node.left);
    return predicate(compareWith(right, FLIPPED[node.operator], literal, node.left));
  }
  return planCompareColumns(node, left, right);
}

function planRange(context: PlanContext, node: Kind<"range">): Term {
  const column = visit(context, node.column);
  if (column.kind === "field") {
    return fail(
      column.field.type === "Array"
        ? "can not comparisons array fields directly"
        : `${column.field.type === "Geometry" ? "geometry" : "vector"} field ${column.field.name} cannot be compared`,
      node.column,
    );
  }
  if (column.kind !== "operand") return fail("expected a field between the bounds of a range", node.column);
  const lower = timeFor(context, column, constantAt(context, node.lower), node.lower);
  const upper = timeFor(context, column, constantAt(context, node.upper), node.upper);
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
  const plain = plainList(context, node.list, left.operand.from === "json" ? null : left.operand.type);
  if (plain !== undefined) return planMembership(node, left.operand, plain);
  const list = constantAt(context, node.list);
  if (list.type !== "array") return fail(`'in' needs a list, got ${show(list)}`, node.list);
  const { operand } = left;
  const values = list.items.map((item, i) => {
    const at = node.list.kind === "array" ? node.list.items[i]! : node.list;
    if (item.type === "array") return fail("a list of 'in' holds single values, not arrays", at);
    // The constant of a single value is a single value.
    if (operand.from === "json") return jsonConstant(item, at.start) as Scalar;
    return castTo(operand.type, timeFor(context, left, item, at), at.start);
  });
  return planMembership(node, operand, values);
}

function planMembership(node: Kind<"in">, operand: Operand, values: Scalar[]): Term {
  if (values.length === 0) return predicate({ op: "constant", value: node.isNegated });
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
  const like: LikeNode = { op: "like", operand: left.operand, pattern: pattern.value };
  const compiled = patternOf(like);
  if (compiled.kind === "general" && compiled.steps.length > PATTERN_STEPS_MAX) {
    return fail(`a pattern of 'like' with wildcards inside has at most ${PATTERN_STEPS_MAX} bytes`, node.pattern);
  }
  return predicate(like);
}

function planNullTest(context: PlanContext, node: Kind<"nullTest">): Term {
  const term = visit(context, node.column);
  if (term.kind === "field" && isVectorType(term.field.type)) {
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
