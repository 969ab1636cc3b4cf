/** Functions of geometry fields. A geometry constant is parsed when the filter is planned, so an error in it is found there. */
import { RELATIONS, type Relation } from "../geo/relation.ts";
import { readWkt, WKT_BYTES_MAX, type Wkt, writeWkt } from "../geo/wkt.ts";
import type { Expression } from "./ast.ts";
import { isNumber, show } from "./constant.ts";
import { constantAt, fail, type Kind, type PlanContext, predicate, source, type Term } from "./term.ts";

type Call = Kind<"call">;

/** How much of a wrong geometry a message shows. */
const TEXT_SHOWN_MAX = 100;

/** @param name the part after `st_` */
export function planGeometry(context: PlanContext, node: Call, name: string): Term {
  if (name === "dwithin") return planDistance(context, node);
  const relation = RELATIONS.find((each) => each === name);
  if (relation === undefined) return fail(`function ${node.name} is not known`, node);
  return planRelation(context, node, relation);
}

function planRelation(context: PlanContext, node: Call, relation: Relation): Term {
  const [fieldAt, textAt] = node.args;
  if (fieldAt === undefined || textAt === undefined || node.args.length !== 2) {
    return fail(`${node.name} takes a field and a geometry as well-known text`, node);
  }
  const fieldId = geometryField(context, fieldAt);
  const wkt = writtenAt(geometryAt(context, node, textAt), textAt);
  return predicate({ op: "geometry", fieldId, relation, wkt });
}

function planDistance(context: PlanContext, node: Call): Term {
  const [fieldAt, textAt, metresAt] = node.args;
  if (fieldAt === undefined || textAt === undefined || metresAt === undefined || node.args.length !== 3) {
    return fail(`${node.name} takes a field, a point as well-known text and a distance in metres`, node);
  }
  const fieldId = geometryField(context, fieldAt);
  const wkt = geometryAt(context, node, textAt);
  if (wkt.kind !== "POINT" || wkt.lists.length === 0) {
    return fail(`${node.name} measures from a POINT, got ${wkt.kind}${wkt.lists.length === 0 ? " EMPTY" : ""}`, textAt);
  }
  const literal = constantAt(context, metresAt);
  if (!isNumber(literal)) return fail(`distance parameter must be a numeric value, got: ${show(literal)}`, metresAt);
  const metres = Number(literal.value);
  if (metres < 0) return fail(`distance parameter must be non-negative, got: ${show(literal)}`, metresAt);
  return predicate({ op: "geometry", fieldId, metres, wkt: writeWkt(wkt) });
}

function geometryField(context: PlanContext, at: Expression): number {
  const term = context.visit(at);
  if (term.kind === "field" && term.field.type === "Geometry") return term.field.fieldId;
  return fail(`spatial operation are only supported on geometry fields now, got: ${source(context, at)}`, at);
}

function geometryAt(context: PlanContext, node: Call, at: Expression): Wkt {
  const literal = constantAt(context, at);
  if (literal.type !== "string") {
    return fail(`${node.name} needs a geometry as well-known text, got ${show(literal)}`, at);
  }
  const { value } = literal;
  if (value.length > WKT_BYTES_MAX) return tooLong(value, at);
  const shown = value.length > TEXT_SHOWN_MAX ? `${value.slice(0, TEXT_SHOWN_MAX)}…` : value;
  return readWkt(value) ?? fail(`invalid geometry WKT: ${shown}`, at);
}

/** The canonical form may be longer than the given text. */
function writtenAt(wkt: Wkt, at: Expression): string {
  const text = writeWkt(wkt);
  return text.length > WKT_BYTES_MAX ? tooLong(text, at) : text;
}

function tooLong({ length }: string, at: Expression): never {
  return fail(`the geometry is ${length} characters long, at most ${WKT_BYTES_MAX} are taken`, at);
}
