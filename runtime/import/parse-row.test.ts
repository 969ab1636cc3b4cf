/** Rows with vectors: the same values, to the bit, as JSON.parse gives. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { FieldSchema } from "../schema.ts";
import { parseRowText, vectorNames } from "./parse-row.ts";

const DIMENSION = 3;
const field = (name: string): [string, FieldSchema] => [
  name,
  {
    ...{ fieldId: 100, name, type: "FloatVector", dimension: DIMENSION, description: "" },
    ...{ isPrimary: false, nullable: false, isDynamic: false },
  },
];
const NAMES = vectorNames(new Map([field("vector"), field("other")]));

function parse(text: string): unknown {
  return parseRowText(Buffer.from(text), NAMES);
}

function vectorOf(text: string): unknown {
  return (parse(`{"vector":${text}}`) as { vector: unknown }).vector;
}

describe("a row's vectors", () => {
  it("are the numbers of JSON.parse, rounded to 32 bits, however they are written", () => {
    const number = fc.oneof(
      fc.double({ noNaN: true, noDefaultInfinity: true }),
      fc.float({ noNaN: true, noDefaultInfinity: true }),
      fc.integer(),
      fc.maxSafeInteger(),
    );
    const written = fc.oneof(
      number.map((value) => JSON.stringify(value)),
      fc.tuple(number, fc.integer({ min: 1, max: 20 })).map(([value, digits]) => value.toExponential(digits)),
      fc
        .tuple(fc.double({ min: -1e6, max: 1e6, noNaN: true }), fc.integer({ min: 0, max: 30 }))
        .map(([value, digits]) => value.toFixed(digits)),
      fc
        .tuple(fc.stringMatching(/^(0|[1-9]\d{0,25})$/), fc.stringMatching(/^\d{1,25}$/))
        .map(([whole, part]) => `${whole}.${part}`),
      // As programs print numbers below ten, and near to that.
      fc
        .tuple(fc.stringMatching(/^-?\d\.0{0,6}\d{10,22}$/), fc.constantFrom("", "", "", "e0", "E-3", "e+30"))
        .map(([digits, power]) => digits + power),
    );
    fc.assert(
      fc.property(fc.array(written, { minLength: 3, maxLength: 3 }), (numbers) => {
        const text = `[${numbers.join(", ")}]`;
        const expected = Float32Array.from(JSON.parse(text) as number[]);
        const got = vectorOf(text) as Float32Array;
        expect(new Uint32Array(Float32Array.from(got).buffer)).toEqual(new Uint32Array(expected.buffer));
      }),
      { numRuns: 3000 },
    );
  });

  it("are right in the middle between two of 32 bits, and next to it", () => {
    const middle = 1 + 2 ** -24;
    const texts = ["1.000000059604644775390625", "1.00000005960464477539062500001", "1.0000000596046447753906249999"];
    for (const text of texts) {
      expect((vectorOf(`[${text},0,0]`) as Float32Array)[0]).toBe(Math.fround(Number(text)));
      expect(Number(text)).toBe(middle);
    }
  });

  it("are found wherever the object has them, and nowhere else", () => {
    const rows = [
      { id: 1, vector: [1, 2, 3], text: '"vector":[9,9,9]', nested: { vector: [4, 5, 6] }, other: [7, 8, 9] },
      { vector: [1, 2.5, -3e-7], "esc\\aped": ["a", { b: "}" }], last: null },
    ];
    for (const row of rows) {
      const floats = Object.entries(row).map(([key, value]) =>
        key === "vector" || key === "other" ? [key, Float32Array.from(value as number[])] : [key, value],
      );
      expect(parse(JSON.stringify(row))).toEqual(Object.fromEntries(floats));
      expect(parse(JSON.stringify(row, null, 2))).toEqual(Object.fromEntries(floats));
    }
  });

  it.each(["[1,2]", "[1,2,3,4]", "[]", '[1,"2",3]', "[1,null,3]", "[[1],2,3]", '"AAAA"', "null", '{"0":1}'])(
    "stay what JSON says when they are %s",
    (text) => {
      expect(parse(`{"a":1,"vector":${text}}`)).toEqual({ a: 1, vector: JSON.parse(text) as unknown });
    },
  );

  it.each([
    '{"vector":[1,2,03]}',
    '{"vector":[1,2,.5]}',
    '{"vector":[1,2,5.]}',
    '{"vector":[1,2,1e]}',
    '{"vector":[1,2,NaN]}',
    '{"vector":[1,2,+3]}',
    '{"vector":[1,2,3],}',
    '{"vector":[1,2,3]} 1',
    '{"a" 1,"vector":[1,2,3]}',
    '{"a":nope,"vector":[1,2,3]}',
    '{"vector":[1,2,3]',
  ])("are no way round what JSON refuses: %s", (text) => {
    expect(() => parse(text)).toThrow();
  });
});
