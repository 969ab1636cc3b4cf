/** What a name in a request stands for: a field, or a path in a JSON field or in the dynamic one. */
import { VdbError } from "../../runtime/errors.ts";
import type { ValueRef } from "../../runtime/protocol/values.ts";
import { pointerParts } from "../../runtime/scalar-index/definition.ts";
import {
  type CollectionSchema,
  DYNAMIC_FIELD,
  type FieldSchema,
  fieldByName,
  SCALAR_TYPES,
} from "../../runtime/schema.ts";

export type Path = (string | number)[];

export interface FieldPath {
  field: FieldSchema;
  /** Empty: the field itself. */
  path: Path;
}

/** A name of the schema wins over a dynamic key. Undefined: there is no such field. @throws VdbError invalid_parameter */
export function fieldPathOf(schema: CollectionSchema, name: string): FieldPath | undefined {
  const plain = name === DYNAMIC_FIELD ? undefined : fieldByName(schema, name);
  if (plain !== undefined) return { field: plain, path: [] };
  const dynamic = schema.fields.find(({ isDynamic }) => isDynamic);
  const bracket = name.indexOf("[");
  const base = bracket < 0 ? name : name.slice(0, bracket);
  const field = bracket < 0 || base === DYNAMIC_FIELD ? undefined : fieldByName(schema, base);
  if (field?.type === "JSON") return { field, path: pathOf(name) };
  if (field !== undefined) return { field, path: [] };
  if (dynamic === undefined) return undefined;
  const path = bracket < 0 ? [] : pathOf(name);
  return { field: dynamic, path: base === DYNAMIC_FIELD ? path : [base, ...path] };
}

/** `field["a"][0]`, with or without the name, or a JSON pointer, `/a/0` (RFC 6901). @throws VdbError invalid_parameter */
export function pathOf(text: string): Path {
  if (text.startsWith("/")) return pointerParts(text).map(asIndex);
  const bracket = text.indexOf("[");
  const parts = bracket < 0 ? [] : text.slice(bracket).match(/\[(?:"[^"]*"|'[^']*'|\d+)\]/g);
  if (parts === null || bracket < 0 || parts.join("") !== text.slice(bracket)) {
    throw new VdbError("invalid_parameter", `json path ${text} is not a path like field["a"]["b"]`);
  }
  return parts.map((part) => (/^\[\d/.test(part) ? Number(part.slice(1, -1)) : part.slice(2, -2)));
}

/** In a pointer, digits are a place in an array or a key; so are numbers in a path. */
function asIndex(part: string): string | number {
  return /^(0|[1-9]\d{0,14})$/.test(part) ? Number(part) : part;
}

/** A name whose values are scalars, one a row. @throws VdbError field_not_found, invalid_parameter */
export function scalarOf(
  schema: CollectionSchema,
  name: string,
  purpose: string,
): { ref: ValueRef; field: FieldSchema } {
  const found = fieldPathOf(schema, name);
  if (found === undefined)
    throw new VdbError("field_not_found", `field not found[field=${name}]`, { details: { field: name } });
  const { field, path } = found;
  const isScalar =
    (SCALAR_TYPES as readonly string[]).includes(field.type) && (field.type !== "JSON" || path.length > 0);
  if (!isScalar) {
    const kind = field.type === "JSON" ? 'JSON as a whole: name a path, like field["key"]' : field.type;
    throw new VdbError("invalid_parameter", `field ${name} cannot be used to ${purpose}: it is of type ${kind}`, {
      details: { field: name },
    });
  }
  const ref: ValueRef = { fieldId: field.fieldId };
  if (path.length > 0) ref.path = path;
  if (field.defaultValue !== undefined) ref.defaultValue = field.defaultValue;
  return { ref, field };
}
