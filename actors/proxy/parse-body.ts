/** Request bodies against a route's shape, with Milvus's codes: 1801 for a wrong JSON type, 1802 for what is missing. */
import { z } from "zod";
import { VdbError } from "../../runtime/errors.ts";
import { optional, REFUSED, readShape } from "../../runtime/protocol/shape-reader.ts";

export { optional };

/** Every body that names a collection. */
export const CollectionBody = z.object({ dbName: optional(z.string()), collectionName: z.string().min(1) });
export type CollectionBody = z.infer<typeof CollectionBody>;

/** `properties` of a request: values as text, numbers or truth values. */
export const PropertiesField = optional(z.record(z.string(), z.union([z.string(), z.number(), z.boolean(), z.null()])));

/**
 * Keys that the shape does not name are ignored; keys of another case than the shape's stand for them, as Go's JSON has it.
 * @throws VdbError malformed_request, missing_field
 */
export function parseBody<T>(schema: z.ZodType<T>, received: unknown): T {
  const body = inShapesCase(schema, received);
  const read = readShape(schema, body);
  if (read !== REFUSED) return read as T;
  const parsed = schema.safeParse(body);
  if (parsed.success) return parsed.data;
  const { path, message } = closest(parsed.error.issues[0]!, body);
  const name = path.map(String).join(".");
  const given = valueAt(body, path);
  if (path.length > 0 && (given === undefined || given === null || given === "")) {
    throw new VdbError("missing_field", `missing required parameters, error: ${name} is required`, {
      details: { field: name },
    });
  }
  throw new VdbError(
    "malformed_request",
    `can only accept json format request, error: ${name === "" ? "body" : name}: ${message}`,
    { details: { field: name } },
  );
}

/** What a body says under a key, in whatever case: as `parseBody` would find it. Undefined when it says nothing, or no text. */
export function textOf(body: unknown, name: string): string | undefined {
  const value = valueIn(body, name);
  return typeof value === "string" && value !== "" ? value : undefined;
}

/** The same of any value. */
export function valueIn(body: unknown, name: string): unknown {
  if (typeof body !== "object" || body === null) return undefined;
  const values = body as Record<string, unknown>;
  const key = Object.hasOwn(values, name) ? name : Object.keys(values).findLast((each) => isNamed(each, name));
  return key === undefined ? undefined : values[key];
}

/** A header that names the database stands for a body's missing `dbName`. */
export function withDatabase(body: unknown, name: unknown): unknown {
  if (typeof name !== "string" || name === "" || typeof body !== "object" || body === null) return body;
  return textOf(body, "dbName") === undefined ? { ...body, dbName: name } : body;
}

function isNamed(key: string, name: string): boolean {
  return key.length === name.length && key.toLowerCase() === name.toLowerCase();
}

const namesOfShapes = new WeakMap<z.ZodType, Map<string, string>>();

/** The body itself, unless a key of it differs from the shape's in case alone. */
function inShapesCase(schema: z.ZodType, body: unknown): unknown {
  if (!(schema instanceof z.ZodObject) || typeof body !== "object" || body === null) return body;
  const shape = schema.shape as Record<string, unknown>;
  let renamed: Record<string, unknown> | undefined;
  for (const key of Object.keys(body)) {
    if (Object.hasOwn(shape, key)) continue;
    const name = namesByLowerCase(schema).get(key.toLowerCase());
    if (name === undefined || Object.hasOwn(body, name)) continue;
    renamed ??= { ...(body as Record<string, unknown>) };
    renamed[name] = renamed[key];
  }
  return renamed ?? body;
}

function namesByLowerCase(schema: z.ZodObject): Map<string, string> {
  let names = namesOfShapes.get(schema);
  if (names === undefined) {
    names = new Map(Object.keys(schema.shape).map((name) => [name.toLowerCase(), name]));
    namesOfShapes.set(schema, names);
  }
  return names;
}

/**
 * Of a value that may have several forms, the form that it is nearest to says what is wrong; where it is none of them, all
 * are named.
 */
function closest(issue: z.core.$ZodIssue, body: unknown): { path: readonly PropertyKey[]; message: string } {
  if (issue.code !== "invalid_union") return issue;
  const forms = issue.errors.flatMap(([first]) => (first === undefined ? [] : [first]));
  const near = forms.find(({ path }) => path.length > 0);
  if (near !== undefined) return closest({ ...near, path: [...issue.path, ...near.path] }, body);
  const expected = forms.flatMap((form) => (form.code === "invalid_type" ? [form.expected] : []));
  if (expected.length === 0) return issue;
  const given = kindOf(valueAt(body, issue.path));
  return { path: issue.path, message: `Invalid input: expected ${expected.join(" or ")}, received ${given}` };
}

function kindOf(value: unknown): string {
  if (value === null) return "null";
  return Array.isArray(value) ? "array" : typeof value;
}

function valueAt(body: unknown, path: readonly PropertyKey[]): unknown {
  let value = body;
  for (const key of path) value = (value as Record<PropertyKey, unknown> | null | undefined)?.[key];
  return value;
}
