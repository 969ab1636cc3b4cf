/**
 * What zod makes of a value, for the shapes that come with every request, at a tenth of its cost: a shape is looked at once
 * and becomes functions. Whoever is refused here is looked at by zod, which knows why; what this does not know how to read
 * is read by zod, field by field. So the two cannot disagree, and zod's shapes stay the only description.
 */
import { z } from "zod";

/** The shape has more to say about a value than this knows. */
export const REFUSED = Symbol("refused");

export type ShapeReader = (value: unknown) => unknown;

const readers = new WeakMap<z.ZodType, ShapeReader>();
const optionals = new WeakMap<z.ZodType, z.ZodType>();

/** A field that may be left out or null, as Go's JSON has it. */
export function optional<T extends z.ZodType>(schema: T) {
  const field = schema.nullish().transform((value) => value ?? undefined);
  optionals.set(field, schema);
  return field;
}

/** The value as the shape has it; REFUSED: zod is to say. Nothing of the value is changed; records are the given ones. */
export function readShape(schema: z.ZodType, value: unknown): unknown {
  let reader = readers.get(schema);
  if (reader === undefined) {
    reader = readerOf(schema);
    readers.set(schema, reader);
  }
  return reader(value);
}

function readerOf(schema: z.ZodType): ShapeReader {
  const inner = optionals.get(schema);
  if (inner !== undefined) {
    const read = readerOf(inner);
    return (value) => (value === undefined || value === null ? undefined : read(value));
  }
  if (hasChecks(schema)) return byZod(schema);
  if (schema instanceof z.ZodOptional) return absentReader(schema, undefined);
  if (schema instanceof z.ZodNullable) return absentReader(schema, null);
  if (schema instanceof z.ZodObject && schema.def.catchall === undefined) return objectReader(schema);
  if (schema instanceof z.ZodUnknown) return (value) => value;
  if (schema instanceof z.ZodBoolean && schema.def.coerce !== true) return ofType("boolean");
  if (schema instanceof z.ZodNumberFormat && schema.format === "safeint") {
    return (value) => (Number.isSafeInteger(value) ? value : REFUSED);
  }
  if (schema instanceof z.ZodString && schema.def.coerce !== true && !(schema instanceof z.ZodStringFormat)) {
    return ofType("string");
  }
  if (schema instanceof z.ZodArray) return listReader(readerOf(schema.element as z.ZodType));
  if (schema instanceof z.ZodRecord && isOfAnything(schema)) return recordOfAnything;
  return byZod(schema);
}

function absentReader(schema: z.ZodOptional | z.ZodNullable, absent: undefined | null): ShapeReader {
  const inner = schema.unwrap() as z.ZodType;
  // One that makes something of nothing.
  if (inner._zod.optin !== undefined) return byZod(schema);
  const read = readerOf(inner);
  return (value) => (value === absent ? absent : read(value));
}

function byZod(schema: z.ZodType): ShapeReader {
  return (value) => {
    const parsed = schema.safeParse(value);
    return parsed.success ? parsed.data : REFUSED;
  };
}

/** Formats count as a check of their own. */
function hasChecks(schema: z.ZodType): boolean {
  const { checks = [] } = schema.def as { checks?: readonly unknown[] };
  return checks.length > 0;
}

function ofType(type: "string" | "boolean"): ShapeReader {
  return (value) => (typeof value === type ? value : REFUSED);
}

function listReader(read: ShapeReader): ShapeReader {
  return (value) => {
    if (!Array.isArray(value)) return REFUSED;
    const list = new Array<unknown>(value.length);
    for (let i = 0; i < list.length; i++) {
      const item = read(value[i]);
      if (item === REFUSED) return REFUSED;
      list[i] = item;
    }
    return list;
  };
}

function isOfAnything({ keyType, valueType }: z.ZodRecord): boolean {
  return keyType instanceof z.ZodString && !hasChecks(keyType) && valueType instanceof z.ZodUnknown;
}

function recordOfAnything(value: unknown): unknown {
  if (typeof value !== "object" || value === null || Object.getPrototypeOf(value) !== Object.prototype) return REFUSED;
  return Object.hasOwn(value, "__proto__") ? REFUSED : value;
}

/** Keys that the shape does not name are left out; those that are not there stay away. */
function objectReader(schema: z.ZodObject): ShapeReader {
  const fields = Object.entries(schema.shape as Record<string, z.ZodType>).map(([name, field]) => {
    return { name, read: readerOf(field), mayBeAway: field._zod.optin !== undefined };
  });
  return (value) => {
    if (typeof value !== "object" || value === null || Array.isArray(value)) return REFUSED;
    const given = value as Record<string, unknown>;
    const made: Record<string, unknown> = {};
    for (const { name, read, mayBeAway } of fields) {
      const isGiven = name in given;
      if (!isGiven && !mayBeAway) return REFUSED;
      const field = read(given[name]);
      if (field === REFUSED) return REFUSED;
      if (isGiven || field !== undefined) made[name] = field;
    }
    return made;
  };
}
