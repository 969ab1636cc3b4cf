/** Lists of numbers in JSON text: with the addon and without it, those of JSON.parse in 32 bits. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { loadNativeAddon } from "../ann/native-addon.ts";
import { endOfList, readFloats, readList } from "./float-list.ts";

const addon = loadNativeAddon();
const inAddon = addon instanceof Error ? undefined : addon.readFloats;

const digits = (most: number) => fc.string({ unit: fc.constantFrom(..."0123456789"), minLength: 1, maxLength: most });

/** Halfway between two floats, where the last digits say which is nearer. */
const middle = fc.float({ noNaN: true, noDefaultInfinity: true, min: Math.fround(1e-6), max: 1e6 }).chain((value) => {
  const next = new Float32Array([value]);
  new Int32Array(next.buffer)[0]!++;
  return fc.integer({ min: 8, max: 40 }).map((precision) => ((value + next[0]!) / 2).toPrecision(precision));
});

const numberText = fc.oneof(
  fc.double({ noNaN: true, noDefaultInfinity: true }).map(String),
  fc.float({ noNaN: true, noDefaultInfinity: true }).map(String),
  fc.tuple(fc.constantFrom("", "-"), fc.nat(9), digits(30)).map(([sign, whole, rest]) => `${sign}${whole}.${rest}`),
  fc.tuple(fc.nat(), digits(5), fc.integer({ min: -60, max: 60 })).map(([a, b, e]) => `${a}.${b}e${e}`),
  fc.tuple(fc.integer({ min: 1, max: 9 }), digits(30)).map(([first, rest]) => `${first}${rest}`),
  fc.constantFrom("0", "-0", "0.0", "1E+2", "-12.50e-1"),
  middle,
);
const space = fc.constantFrom("", " ", "\n\t", "\r ");
const list = fc.array(
  fc.tuple(space, numberText, space).map((parts) => parts.join("")),
  { maxLength: 20 },
);

/** What JSON.parse takes for another thing, and what it does not take. */
const NO_LISTS = [
  "",
  "[",
  "[]",
  "[1",
  "[1,2",
  "[1,2,3]",
  "[1 2]",
  "[01,2]",
  "[1.,2]",
  "[.5,2]",
  "[-,2]",
  "[+1,2]",
].concat([
  "[1e,2]",
  "[1e+,2]",
  "[null,2]",
  '["1",2]',
  "[[1],2]",
  "[1,]",
  "[,1]",
  "[0x1,2]",
  "[NaN,2]",
  "{1,2]",
  "[1,2}",
  "[1-2,2]",
]);

const READERS: [string, (text: Uint8Array, count: number) => { values: Float32Array; end: number }, boolean][] = [
  [
    "in script",
    (text, count) => {
      const values = new Float32Array(count);
      return { values, end: readList(text, 3, values) };
    },
    true,
  ],
  [
    "in the addon",
    (text, count) => {
      const values = new Float32Array(count + 2);
      return { end: inAddon!(text, 3, values, 2, count), values: values.subarray(2) };
    },
    false,
  ],
  [
    "as imports do",
    (text, count) => {
      const values = readFloats(text, 3, count);
      return { values: values ?? new Float32Array(0), end: values === null ? 0 : endOfList() };
    },
    true,
  ],
];

describe.for(READERS)("lists read %s", ([name, read, readsAll]) => {
  const test = it.skipIf(name === "in the addon" && inAddon === undefined);

  test("are those of JSON.parse, rounded to 32 bits, and end behind their bracket", () => {
    fc.assert(
      fc.property(list, fc.constantFrom("", ",1]", "}", "5"), (items, rest) => {
        const text = `[${items.join()}]`;
        const { values, end } = read(Buffer.from(`1, ${text}${rest}`), items.length);
        // The addon leaves to others what is hard to round.
        if (!readsAll && end === 0) return;
        if (items.length === 0) return;
        expect(end).toBe(3 + text.length);
        expect([...values]).toEqual((JSON.parse(text) as number[]).map(Math.fround));
      }),
      { numRuns: 500 },
    );
  });

  test("of numbers as programs print them are all read", () => {
    const items = Array.from({ length: 300 }, (_, i) => String(Math.fround(Math.sin(i) / (1 + (i % 7)))));
    const { values, end } = read(Buffer.from(`   [${items.join(", ")}]`), items.length);
    expect(end).toBeGreaterThan(0);
    expect([...values]).toEqual(items.map(Number));
  });

  test("are of as many numbers as were asked for, and of nothing else", () => {
    for (const text of NO_LISTS) expect([text, read(Buffer.from(`   ${text}`), 2).end]).toEqual([text, 0]);
  });
});
