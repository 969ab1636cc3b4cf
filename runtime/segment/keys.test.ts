import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { textArbitrary } from "../testing/column-rows.ts";
import type { PrimaryKey } from "./column.ts";
import { compareKeys, hashKey, type KeyColumn, keyAt, keysEqual, keysOf, normalInt64, shardOfKey } from "./keys.ts";

const int64 = fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n });
const int64Keys = fc.array(fc.oneof(int64, fc.bigInt({ min: -9n, max: 9n })), { minLength: 1, maxLength: 20 });
const textKeys = fc.array(textArbitrary, { minLength: 1, maxLength: 20 });

function hashes(column: KeyColumn, count: number): number[] {
  return Array.from({ length: count }, (_, row) => hashKey(column, row));
}

describe("hashKey", () => {
  // Routing of stored rows rests on these numbers: a change of one makes existing clusters look for keys on wrong shards.
  it("keeps the hashes of int64 keys", () => {
    const keys = [0n, 1n, 2n, -1n, 42n, 2n ** 31n, 2n ** 32n, 2n ** 53n, 2n ** 63n - 1n, -(2n ** 63n)];
    expect(hashes(keysOf("int64", keys), keys.length)).toEqual([
      0, 1364076727, 821347078, 2980047484, 142593372, 1832674720, 301794027, 294719047, 167747872, 1832674720,
    ]);
  });

  it("keeps the hashes of varchar keys", () => {
    const keys = ["", "a", "b", "ab", "ba", "key-1", "key-2", "é", "漢字", "😀", "x".repeat(300)];
    expect(hashes(keysOf("varchar", keys), keys.length)).toEqual([
      2872998923, 444641715, 2193908274, 2563531789, 605838741, 1675941015, 518718929, 2387039943, 1862367541,
      855877642, 115736690,
    ]);
  });

  it("depends on the key alone, not on where its column's data begin", () => {
    fc.assert(
      fc.property(int64Keys, textKeys, (numbers, texts) => {
        for (const [kind, keys] of [["int64", numbers] as const, ["varchar", texts] as const]) {
          const column = keysOf(kind, keys);
          keys.forEach((key, row) => {
            expect(hashKey(column, row)).toBe(hashKey(keysOf(kind, [key]), 0));
            expect(hashKey(column, row)).toBe(
              hashKey(keysOf(kind, ["x", key].slice(kind === "int64" ? 1 : 0)), kind === "int64" ? 0 : 1),
            );
          });
        }
      }),
    );
  });

  const KEYS = 40_000;
  const sets: Record<string, () => KeyColumn> = {
    "consecutive int64": () =>
      keysOf(
        "int64",
        Array.from({ length: KEYS }, (_, i) => i),
      ),
    "int64 in steps of 1,024": () =>
      keysOf(
        "int64",
        Array.from({ length: KEYS }, (_, i) => i * 1024),
      ),
    "int64 that differ in the upper half": () =>
      keysOf(
        "int64",
        Array.from({ length: KEYS }, (_, i) => BigInt(i) << 32n),
      ),
    "int64 of a time and a counter": () =>
      keysOf(
        "int64",
        Array.from({ length: KEYS }, (_, i) => (BigInt(1_700_000_000_000 + (i >> 3)) << 18n) | BigInt(i & 7)),
      ),
    "numbered texts": () =>
      keysOf(
        "varchar",
        Array.from({ length: KEYS }, (_, i) => `document-${i}`),
      ),
  };
  for (const [name, make] of Object.entries(sets)) {
    it(`spreads ${name} evenly over shards`, () => {
      const column = make();
      for (const shardCount of [2, 3, 4, 8, 16]) {
        const counts = new Array<number>(shardCount).fill(0);
        for (let row = 0; row < KEYS; row++) counts[shardOfKey(column, row, shardCount)]!++;
        // At 16 shards a shard's count has a standard deviation of 1.9% of its mean: 11% is more than five of them.
        const mean = KEYS / shardCount;
        for (const count of counts) expect(Math.abs(count - mean) / mean).toBeLessThan(0.11);
      }
    });
  }

  it("puts every key of an unsharded collection on shard 0", () => {
    expect(shardOfKey(keysOf("int64", [12_345]), 0, 1)).toBe(0);
  });
});

describe("keysEqual", () => {
  it("is equality of the keys", () => {
    fc.assert(
      fc.property(int64Keys, int64Keys, textKeys, textKeys, (numbersA, numbersB, textsA, textsB) => {
        for (const [kind, a, b] of [["int64", numbersA, numbersB] as const, ["varchar", textsA, textsB] as const]) {
          const [columnA, columnB] = [keysOf(kind, a), keysOf(kind, b)];
          a.forEach((keyA, rowA) => {
            b.forEach((keyB, rowB) => {
              expect(keysEqual(columnA, rowA, columnB, rowB)).toBe(keyA === keyB);
            });
          });
        }
      }),
    );
  });
});

describe("keyAt", () => {
  it("gives each key in its one form: a number where exact, else a bigint; text as it was", () => {
    fc.assert(
      fc.property(int64Keys, textKeys, (numbers, texts) => {
        const column = keysOf("int64", numbers);
        expect(numbers.map((_, row) => keyAt(column, row))).toEqual(numbers.map(normalInt64));
        const textColumn = keysOf("varchar", texts);
        expect(texts.map((_, row) => keyAt(textColumn, row))).toEqual(texts);
      }),
    );
  });

  it("changes from number to bigint beyond 2^53 - 1", () => {
    const edge = 2n ** 53n - 1n;
    expect([edge, edge + 1n, -edge, -edge - 1n].map(normalInt64)).toEqual([
      Number(edge),
      edge + 1n,
      -Number(edge),
      -edge - 1n,
    ]);
  });

  it("keeps a byte order mark that a key begins with", () => {
    expect(keyAt(keysOf("varchar", ["\ufeffkey"]), 0)).toBe("\ufeffkey");
  });
});

describe("compareKeys", () => {
  it("orders text as its UTF-8 bytes", () => {
    fc.assert(
      fc.property(textArbitrary, textArbitrary, textArbitrary, (prefix, x, y) => {
        const [a, b] = [prefix + x, prefix + y];
        expect(Math.sign(compareKeys(a, b))).toBe(Buffer.compare(Buffer.from(a), Buffer.from(b)));
      }),
      { numRuns: 2000 },
    );
  });

  it("orders numbers and bigints by value, mixed", () => {
    fc.assert(
      fc.property(int64Keys, (keys) => {
        const sorted = keys.map(normalInt64).sort(compareKeys);
        const expected: PrimaryKey[] = [...keys].sort((a, b) => (a < b ? -1 : a > b ? 1 : 0)).map(normalInt64);
        expect(sorted).toEqual(expected);
      }),
    );
  });
});
