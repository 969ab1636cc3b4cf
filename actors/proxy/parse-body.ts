/** Request bodies against a route's shape, with Milvus's codes: 1801 for a wrong JSON type, 1802 for what is missing. */
import { z } from "zod";
import { VdbError } from "../../runtime/errors.ts";

/** A field that may be left out or null, as Go's JSON has it. */
export function optional<T extends z.ZodType>(schema: T) {
  return schema.nullish().transform((value) => value ?? undefined);
}

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
  const parsed = schema.safeParse(body);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  const path = issue?.path ?? [];
  const name = path.map(String).join(".");
  const given = valueAt(body, path);
  if (path.length > 0 && (given === undefined || given === null || given === "")) {
    throw new VdbError("missing_field", `missing required parameters, error: ${name} is required`, {
      details: { field: name },
    });
  }
  throw new VdbError(
    "malformed_request",
    `can only accept json format request, error: ${name === "" ? "body" : name}: ${issue?.message ?? "invalid"}`,
    { details: { field: name } },
  );
}

/** What a body says under a key, in whatever case: as `parseBody` would find it. Undefined when it says nothing, or no text. */
export function textOf(body: unknown, name: string): string | undefined {
  if (typeof body !== "object" || body === null) return undefined;
  const values = body as Record<string, unknown>;
  const key = Object.hasOwn(values, name) ? name : Object.keys(values).findLast((each) => isNamed(each, name));
  const value = key === undefined ? undefined : values[key];
  return typeof value === "string" && value !== "" ? value : undefined;
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

function valueAt(body: unknown, path: readonly PropertyKey[]): unknown {
  let value = body;
  for (const key of path) value = (value as Record<PropertyKey, unknown> | null | undefined)?.[key];
  return value;
}
