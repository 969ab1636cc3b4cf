import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { KeyIndex } from "./key-index.ts";
import { hashKey, type KeyColumn, keysOf } from "./keys.ts";

const CHUNK = 8192;

/** An index over chunks of keys, as a segment has them. */
function indexOf(chunks: KeyColumn[], rowsExpected?: number): KeyIndex {
  return new KeyIndex((row) => ({ column: chunks[row >>> 13]!, row: row & (CHUNK - 1) }), rowsExpected);
}

function found(index: KeyIndex, keys: KeyColumn, row: number): number[] {
  const rows: number[] = [];
  for (let hit = index.newest(keys, row, hashKey(keys, row)); hit >= 0; hit = index.olderThan(hit)) rows.push(hit);
  // Newest first.
  return rows.reverse();
}

describe("KeyIndex", () => {
  it("finds every row of a key and no other, keys repeated or absent", () => {
    const text = fc.constantFrom("", "a", "b", "ab", "漢", "x".repeat(70));
    const lists = fc.oneof(
      fc.array(fc.bigInt({ min: -5n, max: 5n }), { maxLength: 60 }).map((keys) => ({ kind: "int64" as const, keys })),
      fc.array(text, { maxLength: 60 }).map((keys) => ({ kind: "varchar" as const, keys })),
    );
    fc.assert(
      fc.property(lists, fc.nat(59), ({ kind, keys }, split) => {
        const column = keysOf(kind, keys);
        const index = indexOf([column]);
        const first = Math.min(split, keys.length);
        index.add(column, 0, 0, first);
        index.add(column, first, first, keys.length - first);
        const asked =
          kind === "int64"
            ? Array.from({ length: 13 }, (_, i) => BigInt(i - 6))
            : ["", "a", "c", "漢", "x".repeat(70), "x".repeat(71)];
        const askedColumn = keysOf(kind, asked);
        asked.forEach((key, i) => {
          const expected = keys.flatMap((candidate, row) => (candidate === key ? [row] : []));
          expect(found(index, askedColumn, i)).toEqual(expected);
        });
      }),
    );
  });

  it("tells apart different keys that have one hash", () => {
    // The halves of an int64 are mixed as low ^ high * 0x9e3779b1, so a low half may cancel a high one.
    const colliding = Array.from({ length: 50 }, (_, high) => {
      const low = Math.imul(high, 0x9e3779b1);
      return (BigInt(high) << 32n) | BigInt(low >>> 0);
    });
    const column = keysOf("int64", colliding);
    expect(new Set(colliding.map((_, row) => hashKey(column, row))).size).toBe(1);
    const index = indexOf([column]);
    index.add(column, 0, 0, colliding.length);
    expect(colliding.map((_, row) => found(index, column, row))).toEqual(colliding.map((_, row) => [row]));
  });

  const cases = [
    { kind: "int64", rowsExpected: 0 },
    { kind: "varchar", rowsExpected: 0 },
    { kind: "int64", rowsExpected: 3 * CHUNK + 100 },
    { kind: "int64", rowsExpected: 2000 },
  ] as const;
  for (const { kind, rowsExpected } of cases) {
    it(`finds ${kind} keys over several chunks, of which it expected ${rowsExpected} rows`, () => {
      const chunks: KeyColumn[] = [];
      const index = indexOf(chunks, rowsExpected);
      const keyOf = (row: number) => (kind === "int64" ? row % 15_000 : `key ${row % 15_000}`);
      const total = 3 * CHUNK + 100;
      for (let start = 0; start < total; start += CHUNK) {
        const count = Math.min(CHUNK, total - start);
        const keys = Array.from({ length: count }, (_, i) => keyOf(start + i));
        const column = keysOf(kind, keys);
        chunks.push(column);
        index.add(column, 0, start, count);
      }
      const asked = keysOf(
        kind,
        Array.from({ length: 15_001 }, (_, row) => (kind === "int64" ? row : `key ${row}`)),
      );
      for (let row = 0; row <= 15_000; row++) {
        const expected = row === 15_000 ? [] : row + 15_000 < total ? [row, row + 15_000] : [row];
        const rows = found(index, asked, row);
        if (rows.join() !== expected.join()) expect({ row, rows }).toEqual({ row, rows: expected });
      }
    });
  }
});
