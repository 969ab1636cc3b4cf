import { describe, expect, it } from "vitest";
import { z } from "zod";
import { optional, REFUSED, readShape } from "./shape-reader.ts";

const Shape = z.object({
  name: z.string().min(1),
  text: optional(z.string()),
  count: optional(z.int()),
  size: z.int().min(1).optional(),
  flag: optional(z.boolean()),
  data: optional(z.unknown()),
  id: z.unknown(),
  names: optional(z.array(z.string())),
  params: optional(z.record(z.string(), z.unknown())),
  level: optional(z.enum(["a", "b"])),
  order: optional(z.array(z.union([z.string().min(1), z.object({ field: z.string(), way: optional(z.string()) })]))),
  inner: z.object({ n: z.number(), email: z.email().optional() }).optional(),
  coerced: z.coerce.number().optional(),
  preset: z.string().default("preset"),
  loose: z.looseObject({ a: z.number().optional() }).optional(),
  way: z.literal(["up", "down", 3]).optional(),
  stamp: z.union([z.bigint(), z.int().transform(BigInt)]).optional(),
  scalar: z.union([z.boolean(), z.number(), z.bigint(), z.string().max(1)]).optional(),
  nothing: z.null().optional(),
  share: z.number().min(0).max(1).optional(),
  above: z.number().gt(-1).lt(1).optional(),
  token: z
    .string()
    .regex(/^[\w-]+$/)
    .length(1)
    .optional(),
  short: z.array(z.string()).min(1).max(1).optional(),
  numbers: z.record(z.string(), z.int()).optional(),
  keyed: z.record(z.string().min(1), z.int()).optional(),
  vector: z
    .custom<Float32Array>((value) => value instanceof Float32Array)
    .nullable()
    .optional(),
  level2: z
    .discriminatedUnion("n", [z.object({ n: z.literal(1) }), z.object({ n: z.literal("1"), email: z.string() })])
    .optional(),
  both: z.intersection(z.looseObject({ a: z.number().optional() }), z.object({ b: z.string() })).optional(),
  list: z.array(z.int()).default([]),
  refined: z
    .string()
    .refine((text) => text !== "a")
    .optional(),
});

const VALUES: unknown[] = [
  ...[undefined, null, "", "a", "b", "x@y.de", 0, 1, -1, 1.5, Number.NaN, 2 ** 60, 10n, true, false],
  ...[
    "up",
    3,
    3n,
    "ä b",
    0.5,
    [1],
    ["a", "b"],
    { "": 1 },
    { a: 1.5 },
    { b: "b" },
    { a: 1, b: "b", c: [] },
    { a: "b", b: 1 },
  ],
  ...[[], ["a"], ["a", 1], [[]], {}, { a: 1 }, new Map(), new Float32Array(2), Object.create(null)],
  ...[
    [{ field: "f" }],
    [{ field: "f", way: null }],
    [{ way: "f" }],
    { n: 1 },
    { n: "1" },
    { n: "1", email: "e", x: 1 },
    { n: 1, email: "no" },
  ],
  JSON.parse('{"__proto__":{"a":1},"b":2}'),
];

describe("a shape that was looked at once", () => {
  it("makes of every value what zod makes of it, or leaves it to zod", () => {
    let read = 0;
    const check = (body: unknown) => {
      const parsed = Shape.safeParse(body);
      const found = readShape(Shape, body);
      if (found === REFUSED) return;
      read++;
      expect(parsed.success).toBe(true);
      expect(found).toEqual(parsed.data);
      expect(Object.keys(found as object)).toEqual(Object.keys(parsed.data as object));
    };
    for (const body of VALUES) check(body);
    for (const key of Object.keys(Shape.shape)) {
      for (const value of VALUES) {
        check({ name: "n", id: 1, [key]: value });
        check({ name: "n", id: 1, [key]: value, data: [1], unknown: 1, count: 3 });
      }
    }
    expect(read).toBeGreaterThan(200);
  });

  it("leaves to zod what it refuses", () => {
    for (const body of [
      undefined,
      [],
      {},
      { name: "", id: 1 },
      { name: 1, id: 1 },
      { name: "n" },
      { name: "n", id: 1, count: 1.5 },
    ]) {
      expect(readShape(Shape, body)).toBe(REFUSED);
    }
    expect(readShape(Shape, { name: "n", id: 1, count: 1, params: { a: [1] } })).toEqual({
      name: "n",
      id: 1,
      count: 1,
      params: { a: [1] },
      preset: "preset",
      list: [],
    });
  });

  it("makes a default anew for each value", () => {
    const read = () => readShape(Shape, { name: "n", id: 1 }) as { list: unknown };
    expect(read().list).toEqual([]);
    expect(read().list).not.toBe(read().list);
  });

  it("reads a value with fields of every kind", () => {
    const right = {
      ...{ name: "n", id: 1, level: "a", loose: { a: 1, b: 2 }, way: 3, stamp: 4, scalar: 5n, nothing: null, share: 1 },
      ...{
        above: 0,
        token: "t",
        short: ["s"],
        numbers: { a: 1 },
        vector: null,
        level2: { n: 1 },
        both: { b: "b", c: 1 },
      },
    };
    expect(readShape(Shape, right)).toEqual({ ...right, stamp: 4n, preset: "preset", list: [] });
  });

  it("gives back what is as the shape has it, and changes nothing of what is not", () => {
    const same = [
      { name: "n", text: "t", id: 1, names: ["a"], preset: "p", loose: { a: 1, b: 2 }, numbers: { a: 1 }, list: [1] },
      { name: "n", id: 1, inner: { n: 1 }, preset: "p", level2: { n: 1 }, list: [] },
    ];
    for (const value of same) expect(readShape(Shape, value)).toBe(value);
    const others = [
      { name: "n", id: 1, preset: "p", stamp: 4, list: [] },
      { id: 1, name: "n", preset: "p", list: [] },
      { name: "n", id: 1, preset: "p", list: [], unknown: 1 },
      { name: "n", text: null, id: 1, inner: { n: 1, other: 2 }, preset: "p", list: [], both: { b: "b", c: 1 } },
    ];
    for (const value of others) {
      const before = structuredClone(value);
      const found = readShape(Shape, value);
      expect(found).not.toBe(value);
      expect(found).toEqual(Shape.parse(value));
      expect(value).toEqual(before);
      expect(Object.keys(value)).toEqual(Object.keys(before));
    }
  });

  it("reads texts and lists with bounds without zod", () => {
    const Bounded = z.object({ text: z.string().min(1).max(3), list: z.array(z.string().min(1)).min(1).max(2) });
    let asked = 0;
    for (const schema of [Bounded.shape.text, Bounded.shape.list]) {
      const { safeParse } = schema;
      schema.safeParse = ((value: unknown) => {
        asked++;
        return safeParse(value);
      }) as typeof safeParse;
    }
    const value = { text: "abc", list: ["a", "b"] };
    expect(readShape(Bounded, value)).toBe(value);
    for (const wrong of [{ text: "" }, { text: "abcd" }, { list: [] }, { list: [""] }, { list: ["a", "b", "c"] }]) {
      expect(readShape(Bounded, { ...value, ...wrong })).toBe(REFUSED);
    }
    expect(asked).toBe(0);
  });

  it("leaves to zod lengths of texts with characters of two halves", () => {
    const schemas = [z.string().min(1), z.string().min(2), z.string().max(2), z.string().length(2)];
    for (const schema of schemas) {
      for (const text of ["", "a", "ab", "abc", "😀", "😀a", "😀😀", "😀😀😀"]) {
        const found = readShape(schema, text);
        expect(found === REFUSED || schema.safeParse(text).success, `${text}`).toBe(true);
        if (!text.includes("😀")) expect(found !== REFUSED).toBe(schema.safeParse(text).success);
      }
    }
  });

  it("takes lists and bodies as they are for what may be anything", () => {
    const data = [new Float32Array(2)];
    const found = readShape(Shape, { name: "n", id: 1, data }) as { data: unknown };
    expect(found.data).toBe(data);
  });
});
