import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type Bitset, hasBit, newBitset, setBit } from "./bitset.ts";
import { PresentRows } from "./present-rows.ts";

function bitsOf(flags: readonly boolean[]): Bitset {
  const bits = newBitset(flags.length);
  flags.forEach((flag, row) => {
    if (flag) setBit(bits, row);
  });
  return bits;
}

/** Lists of flags, all of them whole words but the last. */
const parts = fc.tuple(
  fc.array(
    fc.oneof(
      fc.array(fc.boolean(), { minLength: 64, maxLength: 64 }),
      fc.constantFrom(new Array<boolean>(32).fill(true), new Array<boolean>(96).fill(false)),
    ),
    { maxLength: 4 },
  ),
  fc.array(fc.boolean(), { maxLength: 70 }),
);

describe("present rows", () => {
  it("number the rows that are there, and say of each which row of the segment it is", () => {
    fc.assert(
      fc.property(parts, fc.boolean(), ([whole, last], isAllSaid) => {
        const present = new PresentRows();
        const flags = [...whole, last].flat();
        for (const part of [...whole, last]) {
          present.add(part.length, isAllSaid && part.every((flag) => flag) ? null : bitsOf(part));
        }
        const rows = flags.flatMap((flag, row) => (flag ? [row] : []));
        expect(present.count).toBe(rows.length);
        expect(present.end).toBe(flags.length);
        expect(Array.from(rows, (_, i) => present.rowAt(i))).toEqual(rows);
        for (let row = 0; row <= flags.length; row += 7) {
          expect(present.countBelow(row)).toBe(rows.filter((each) => each < row).length);
        }
      }),
      { numRuns: 200 },
    );
  });

  it("narrow a filter over the segment to the rows of the index", () => {
    fc.assert(
      fc.property(parts, fc.array(fc.boolean(), { minLength: 500, maxLength: 500 }), ([whole, last], random) => {
        const flags = [...whole, last].flat();
        const present = new PresentRows();
        for (const part of [...whole, last]) present.add(part.length, bitsOf(part));
        const filters = [random.slice(0, flags.length), flags.map(() => true), flags.map(() => false)];
        const firstWords = 32 * whole.length;
        for (const filter of filters) {
          for (const end of [flags.length, Math.min(firstWords, flags.length)]) {
            const { bits, count } = present.narrowed(bitsOf(filter), end);
            const expected = flags.slice(0, end).flatMap((flag, row) => (flag ? [filter[row]!] : []));
            expect(expected.map((_, i) => hasBit(bits, i))).toEqual(expected);
            expect(count).toBe(expected.filter((flag) => flag).length);
            expect(bits.length).toBe(Math.ceil(expected.length / 32));
          }
        }
      }),
      { numRuns: 200 },
    );
  });
});
