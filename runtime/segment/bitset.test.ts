import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  bitsetRows,
  bitsetWords,
  clearBit,
  countBits,
  fullBitset,
  hasBit,
  maskTail,
  newBitset,
  setBit,
} from "./bitset.ts";

const rowCounts = fc.oneof(fc.nat(200), fc.constantFrom(0, 1, 31, 32, 33, 63, 64, 65));

describe("bitset", () => {
  it("agrees with a set of rows through sets and clears", () => {
    const changes = fc.array(fc.record({ row: fc.nat(199), set: fc.boolean() }), { maxLength: 300 });
    fc.assert(
      fc.property(changes, (list) => {
        const bits = newBitset(200);
        const model = new Set<number>();
        for (const { row, set } of list) {
          (set ? setBit : clearBit)(bits, row);
          if (set) model.add(row);
          else model.delete(row);
        }
        expect([...bitsetRows(bits)]).toEqual([...model].sort((a, b) => a - b));
        expect(countBits(bits)).toBe(model.size);
        for (let row = 0; row < 200; row++) expect(hasBit(bits, row)).toBe(model.has(row));
      }),
    );
  });

  it("is full of exactly the rows below the count", () => {
    fc.assert(
      fc.property(rowCounts, (count) => {
        const bits = fullBitset(count);
        expect(bits.length).toBe(bitsetWords(count));
        expect([...bitsetRows(bits)]).toEqual(Array.from({ length: count }, (_, row) => row));
      }),
    );
  });

  it("has nothing at or above the count once its tail is masked, and what it had below", () => {
    fc.assert(
      fc.property(rowCounts, rowCounts, fc.array(fc.nat(199)), (words, count, rows) => {
        const bits = newBitset(words);
        for (const row of rows) if (row < words) setBit(bits, row);
        maskTail(bits, count);
        const kept = [...new Set(rows)].filter((row) => row < words && row < count).sort((a, b) => a - b);
        expect([...bitsetRows(bits)]).toEqual(kept);
      }),
    );
  });
});
