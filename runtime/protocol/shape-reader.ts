/**
 * Reads messages and documents as zod would, at a tenth of its cost: a zod shape is looked at once and compiled to
 * functions. A value that is refused here is given to zod, which says why; a field that this cannot read is read by
 * zod. So the two cannot disagree, and zod's shapes stay the only description.
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

/**
 * The value as the shape has it; REFUSED: zod is to say. Nothing of the value is changed, and what is as the shape has it
 * already, its keys in the shape's order, is the given one: most of what comes is, and copies were most of the cost.
 */
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
  const read = plainReader(schema);
  const checks = checksOf(schema);
  if (read === null || checks === null) return byZod(schema);
  return checks.length === 0 ? read : checkedReader(read, checks);
}

/** What the shape itself says, without what is asked of its values beyond that. Null: zod is to read it. */
function plainReader(schema: z.ZodType): ShapeReader | null {
  const scalar = scalarReader(schema);
  if (scalar !== null) return scalar;
  if (schema instanceof z.ZodOptional) return absentReader(schema, undefined);
  if (schema instanceof z.ZodNullable) return absentReader(schema, null);
  if (schema instanceof z.ZodDefault) return defaultReader(schema);
  if (schema instanceof z.ZodObject) return objectReader(schema);
  if (schema instanceof z.ZodUnknown) return (value) => value;
  if (schema instanceof z.ZodCustom) return (value) => (schema.def.fn(value as never) ? value : REFUSED);
  if (schema instanceof z.ZodArray) return listReader(readerOf(schema.element as z.ZodType));
  if (schema instanceof z.ZodRecord) return recordReader(schema);
  if (schema instanceof z.ZodDiscriminatedUnion) return taggedReader(schema);
  if (schema instanceof z.ZodUnion) return unionReader(schema);
  if (schema instanceof z.ZodIntersection) return intersectionReader(schema);
  return null;
}

/** Of shapes that are not made of others. What these refuse, zod refuses. */
function scalarReader(schema: z.ZodType): ShapeReader | null {
  if ((schema.def as { coerce?: boolean }).coerce === true) return null;
  if (schema instanceof z.ZodBoolean) return ofType("boolean");
  if (schema instanceof z.ZodNumberFormat) {
    return schema.format === "safeint" ? (value) => (Number.isSafeInteger(value) ? value : REFUSED) : null;
  }
  if (schema instanceof z.ZodNumber) return (value) => (Number.isFinite(value) ? value : REFUSED);
  if (schema instanceof z.ZodBigInt) return schema instanceof z.ZodBigIntFormat ? null : ofType("bigint");
  if (schema instanceof z.ZodString) return schema instanceof z.ZodStringFormat ? null : ofType("string");
  if (schema instanceof z.ZodNull) return (value) => (value === null ? value : REFUSED);
  if (schema instanceof z.ZodLiteral) return oneOf(schema.values);
  if (schema instanceof z.ZodEnum) return oneOf(new Set<unknown>(schema.options));
  if (schema instanceof z.ZodPipe) return transformReader(schema);
  return null;
}

function byZod(schema: z.ZodType): ShapeReader {
  return (value) => {
    const parsed = schema.safeParse(value);
    return parsed.success ? parsed.data : REFUSED;
  };
}

type Check = (value: unknown) => boolean;

/** What is asked of values of the right type; null: there is something that only zod knows. */
function checksOf(schema: z.ZodType): Check[] | null {
  const { checks = [] } = schema.def as { checks?: readonly z.core.$ZodCheck<never>[] };
  const known: Check[] = [];
  for (const each of checks) {
    const check = checkOf(each._zod.def as z.core.$ZodCheckDef & Record<string, unknown>);
    if (check === null) return null;
    known.push(check);
  }
  return known;
}

/** What zod itself says of when a length is looked at: of values that have one. */
const WHEN_IT_HAS_LENGTH = z.minLength(1)._zod.def.when;

/** In these zod counts characters, not their halves: where that matters it is to say. */
const SURROGATE = /[\ud800-\udbff]/;

function hasPairs(value: unknown): boolean {
  return typeof value === "string" && SURROGATE.test(value);
}

/** Those of numbers, and of what has a length. */
function checkOf(def: z.core.$ZodCheckDef & Record<string, unknown>): Check | null {
  const { check, value: bound, inclusive } = def;
  if (def.when !== undefined && def.when !== WHEN_IT_HAS_LENGTH) return null;
  const lengthOf = (value: unknown) => (value as { length: number }).length;
  switch (check) {
    case "greater_than":
      if (typeof bound !== "number") return null;
      return inclusive === true ? (value) => (value as number) >= bound : (value) => (value as number) > bound;
    case "less_than":
      if (typeof bound !== "number") return null;
      return inclusive === true ? (value) => (value as number) <= bound : (value) => (value as number) < bound;
    case "min_length": {
      const least = def.minimum as number;
      if (least <= 1) return (value) => lengthOf(value) >= least;
      return (value) => lengthOf(value) >= least && (lengthOf(value) >= 2 * least || !hasPairs(value));
    }
    case "max_length":
      return (value) => lengthOf(value) <= (def.maximum as number);
    case "length_equals":
      return (value) => lengthOf(value) === def.length && !hasPairs(value);
    case "string_format": {
      const { format, pattern } = def;
      // One that remembers where it was would answer by what it was asked before.
      if (format !== "regex" || !(pattern instanceof RegExp) || pattern.global || pattern.sticky) return null;
      return (value) => pattern.test(value as string);
    }
    default:
      return null;
  }
}

function checkedReader(read: ShapeReader, checks: readonly Check[]): ShapeReader {
  return (value) => {
    const found = read(value);
    if (found === REFUSED) return REFUSED;
    for (const check of checks) if (!check(found)) return REFUSED;
    return found;
  };
}

function ofType(type: "string" | "boolean" | "bigint"): ShapeReader {
  return (value) => (typeof value === type ? value : REFUSED);
}

function oneOf(values: ReadonlySet<unknown>): ShapeReader {
  return (value) => (values.has(value) ? value : REFUSED);
}

/** Of a scalar into something else, by a function that cannot refuse it. */
function transformReader({ in: from, out }: z.ZodPipe): ShapeReader | null {
  if (!(from instanceof z.ZodType) || !(out instanceof z.ZodTransform) || scalarReader(from) === null) return null;
  const make = out.def.transform as (value: unknown) => unknown;
  if (make.length > 1) return null;
  const read = readerOf(from);
  return (value) => {
    const found = read(value);
    return found === REFUSED ? REFUSED : make(found);
  };
}

function absentReader(schema: z.ZodOptional | z.ZodNullable, absent: undefined | null): ShapeReader | null {
  const inner = schema.unwrap() as z.ZodType;
  // One that makes something of nothing.
  if (inner._zod.optin !== undefined) return null;
  const read = readerOf(inner);
  return (value) => (value === absent ? absent : read(value));
}

function defaultReader({ def }: z.ZodDefault): ShapeReader | null {
  const inner = def.innerType as z.ZodType;
  if (inner._zod.optin !== undefined) return null;
  const read = readerOf(inner);
  return (value) => (value === undefined ? def.defaultValue : read(value));
}

function listReader(read: ShapeReader): ShapeReader {
  return (value) => {
    if (!Array.isArray(value)) return REFUSED;
    let list: unknown[] = value;
    for (let i = 0; i < value.length; i++) {
      const item = read(value[i]);
      if (item === value[i]) continue;
      if (item === REFUSED) return REFUSED;
      if (list === value) list = value.slice();
      list[i] = item;
    }
    return list;
  };
}

function recordReader({ def, keyType, valueType }: z.ZodRecord): ShapeReader | null {
  if (!(keyType instanceof z.ZodString) || keyType instanceof z.ZodStringFormat) return null;
  if (checksOf(keyType)?.length !== 0 || def.mode !== undefined) return null;
  if (valueType instanceof z.ZodUnknown) return (value) => (isPlain(value) ? value : REFUSED);
  const read = readerOf(valueType as z.ZodType);
  return (value) => {
    if (!isPlain(value)) return REFUSED;
    let made = value;
    for (const key of Object.keys(value)) {
      const item = read(value[key]);
      if (item === value[key]) continue;
      if (item === REFUSED) return REFUSED;
      if (made === value) made = { ...value };
      made[key] = item;
    }
    return made;
  };
}

function isPlain(value: unknown): value is Record<string, unknown> {
  if (typeof value !== "object" || value === null || Object.getPrototypeOf(value) !== Object.prototype) return false;
  return !Object.hasOwn(value, "__proto__");
}

/** Of scalars only: what one of them refuses another may take, so a refusal must be zod's too. */
function unionReader({ options }: z.ZodUnion): ShapeReader | null {
  const schemas = options as readonly z.ZodType[];
  if (schemas.some((schema) => scalarReader(schema) === null || checksOf(schema) === null)) return null;
  const reads = schemas.map(readerOf);
  return (value) => {
    for (const read of reads) {
      const found = read(value);
      if (found !== REFUSED) return found;
    }
    return REFUSED;
  };
}

function taggedReader({ def, options }: z.ZodDiscriminatedUnion): ShapeReader | null {
  const reads = new Map<unknown, ShapeReader>();
  for (const option of options as readonly z.ZodType[]) {
    const tag = option instanceof z.ZodObject ? (option.shape as z.ZodRawShape)[def.discriminator] : undefined;
    if (!(tag instanceof z.ZodLiteral)) return null;
    for (const value of tag.values) reads.set(value, readerOf(option));
  }
  return (value) => {
    if (typeof value !== "object" || value === null) return REFUSED;
    const read = reads.get((value as Record<string, unknown>)[def.discriminator]);
    return read === undefined ? REFUSED : read(value);
  };
}

/** Of objects that agree on what both have. */
function intersectionReader({ def }: z.ZodIntersection): ShapeReader | null {
  const { left, right } = def;
  if (!(left instanceof z.ZodObject) || !(right instanceof z.ZodObject)) return null;
  const [readLeft, readRight] = [readerOf(left), readerOf(right)];
  return (value) => {
    const a = readLeft(value);
    if (a === REFUSED) return REFUSED;
    const b = readRight(value);
    if (b === REFUSED) return REFUSED;
    const made = { ...(a as Record<string, unknown>) };
    for (const [name, field] of Object.entries(b as Record<string, unknown>)) {
      if (name in made && made[name] !== field) return REFUSED;
      made[name] = field;
    }
    return made;
  };
}

/** Keys that the shape does not name are left out, or come after the others; those that are not there stay away. */
function objectReader(schema: z.ZodObject): ShapeReader | null {
  const { catchall } = schema.def;
  const isLoose = catchall instanceof z.ZodUnknown;
  if (catchall !== undefined && !isLoose) return null;
  const shape = schema.shape as Record<string, z.ZodType>;
  const names = new Set(Object.keys(shape));
  const fields = Object.entries(shape).map(([name, field]) => {
    return { name, read: readerOf(field), mayBeAway: field._zod.optin !== undefined };
  });
  /** Whether there are keys of the shape alone, in its order, before those that it may have beside. */
  const isInOrder = (given: Record<string, unknown>): boolean => {
    if (Object.getPrototypeOf(given) !== Object.prototype) return false;
    let at = 0;
    for (const name in given) {
      while (at < fields.length && fields[at]!.name !== name) at++;
      if (at === fields.length && (!isLoose || names.has(name) || name === "__proto__")) return false;
    }
    return true;
  };
  return (value) => {
    if (typeof value !== "object" || value === null || Array.isArray(value)) return REFUSED;
    const given = value as Record<string, unknown>;
    let made = isInOrder(given) ? given : {};
    for (let i = 0; i < fields.length; i++) {
      const { name, read, mayBeAway } = fields[i]!;
      const found = given[name];
      const isGiven = found !== undefined || name in given;
      if (!isGiven && !mayBeAway) return REFUSED;
      const field = read(found);
      if (field === REFUSED) return REFUSED;
      if (made === given) {
        if (field === found) continue;
        // From here on it is another one.
        made = {};
        for (const { name: before } of fields.slice(0, i)) if (before in given) made[before] = given[before];
      }
      if (isGiven || field !== undefined) made[name] = field;
    }
    if (isLoose && made !== given) {
      for (const name in given) {
        if (names.has(name)) continue;
        if (name === "__proto__") return REFUSED;
        made[name] = given[name];
      }
    }
    return made;
  };
}
