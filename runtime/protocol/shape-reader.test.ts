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
});

const VALUES: unknown[] = [
  ...[undefined, null, "", "a", "b", "x@y.de", 0, 1, -1, 1.5, Number.NaN, 2 ** 60, 10n, true, false],
  ...[[], ["a"], ["a", 1], [[]], {}, { a: 1 }, new Map(), new Float32Array(2), Object.create(null)],
  ...[[{ field: "f" }], [{ field: "f", way: null }], [{ way: "f" }], { n: 1 }, { n: "1" }, { n: 1, email: "no" }],
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
    });
  });

  it("takes lists and bodies as they are for what may be anything", () => {
    const data = [new Float32Array(2)];
    const found = readShape(Shape, { name: "n", id: 1, data }) as { data: unknown };
    expect(found.data).toBe(data);
  });
});
