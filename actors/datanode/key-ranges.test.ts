/** Rows as plain values, split into ranges: against the order that values have in filters. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type Cell, columnOf, type ModelField, textArbitrary } from "../../runtime/testing/column-rows.ts";
import { type ClusteringColumn, KeySample, splitRows } from "./key-ranges.ts";

const TYPES = {
  Int8: fc.integer({ min: -128, max: 127 }),
  Int32: fc.integer(),
  Int64: fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
  Float: fc.float(),
  Double: fc.double(),
  VarChar: textArbitrary,
} as const;
type Type = keyof typeof TYPES;

function columnFor(type: Type, cells: readonly Cell[]): ClusteringColumn {
  const field: ModelField = { fieldId: 1, name: "k", type, nullable: true };
  return columnOf(field, cells) as ClusteringColumn;
}

function allRows(count: number): Uint32Array {
  return Uint32Array.from({ length: count }, (_, row) => row);
}

/** What has no value comes first. */
function order(a: Cell, b: Cell): number {
  const isNothing = (cell: Cell) => cell === null || Number.isNaN(cell);
  if (isNothing(a) || isNothing(b)) return Number(isNothing(b)) - Number(isNothing(a));
  if (typeof a === "string") return Buffer.compare(Buffer.from(a), Buffer.from(b as string));
  return a! < b! ? -1 : a! > b! ? 1 : 0;
}

/** The cells of each range, where the sample is of all of them. */
function ranges(type: Type, cells: readonly Cell[], count: number): Cell[][] {
  const column = columnFor(type, cells);
  const sample = new KeySample();
  sample.add(column, allRows(cells.length));
  const lists = splitRows(column, allRows(cells.length), sample.boundaries(count));
  return lists.map((rows) => Array.from(rows, (row) => cells[row]!)).filter(({ length }) => length > 0);
}

describe("ranges of values", () => {
  it("have every row once, in its order, and no value is in two of them", () => {
    const typed = fc.constantFrom(...(Object.keys(TYPES) as Type[])).chain((type) =>
      fc.record({
        type: fc.constant(type),
        cells: fc.array(fc.option(TYPES[type] as fc.Arbitrary<Cell>, { freq: 5 }), { maxLength: 60 }),
        picked: fc.array(fc.boolean(), { minLength: 60, maxLength: 60 }),
        count: fc.integer({ min: 1, max: 12 }),
      }),
    );
    fc.assert(
      fc.property(typed, ({ type, cells, picked, count }) => {
        const column = columnFor(type, cells);
        const rows = allRows(cells.length).filter((row) => picked[row]);
        const sample = new KeySample();
        sample.add(column, rows);
        const lists = splitRows(column, rows, sample.boundaries(count));
        expect(lists.flatMap((list) => [...list]).sort((a, b) => a - b)).toEqual([...rows]);
        for (const list of lists) expect([...list]).toEqual([...list].sort((a, b) => a - b));
        const kept = lists
          .map((list) => Array.from(list, (row) => cells[row]!).sort(order))
          .filter((l) => l.length > 0);
        for (let i = 1; i < kept.length; i++) expect(order(kept[i - 1]!.at(-1)!, kept[i]![0]!)).toBeLessThan(0);
      }),
      { numRuns: 500 },
    );
  });

  it("are about as large as each other, in whatever order rows come and however many there are", () => {
    for (const stride of [1, 7919]) {
      const sample = new KeySample();
      const columns = Array.from({ length: 20 }, (_, n) =>
        columnFor(
          "Int64",
          Array.from({ length: 8192 }, (_, i) => BigInt(((n * 8192 + i) * stride) % (20 * 8192))),
        ),
      );
      for (const column of columns) sample.add(column, allRows(8192));
      const boundaries = sample.boundaries(16);
      const sizes = Array.from({ length: 16 }, () => 0);
      for (const column of columns) {
        splitRows(column, allRows(8192), boundaries).forEach((rows, range) => {
          sizes[range]! += rows.length;
        });
      }
      expect(sizes).toHaveLength(16);
      for (const size of sizes) expect(Math.abs(size / 10_240 - 1)).toBeLessThan(0.15);
    }
  });

  it("are that also where values come by turns, whatever the period", () => {
    for (const period of [48, 64, 100]) {
      const cells = Array.from({ length: 8192 }, (_, i) => i);
      const sample = new KeySample();
      for (let n = 0; n < 64; n++) {
        const column = columnFor(
          "Int32",
          cells.map((i) => (n * 8192 + i) % period),
        );
        sample.add(column, allRows(8192));
      }
      const boundaries = sample.boundaries(4) as number[];
      expect(boundaries).toHaveLength(3);
      boundaries.forEach((boundary, i) => {
        expect(Math.abs(boundary / period - (i + 1) / 4)).toBeLessThan(0.05);
      });
    }
  });

  it("are of one value where it fills one alone, so that the others are not read with it", () => {
    const cells = [...Array.from({ length: 50 }, () => 5), ...Array.from({ length: 50 }, (_, i) => i - 20)];
    const found = ranges("Int32", cells, 4);
    expect(found.map((range) => [Math.min(...(range as number[])), Math.max(...(range as number[]))])).toEqual([
      [-20, 4],
      [5, 5],
      [6, 29],
    ]);
    const nulls = [...Array.from({ length: 50 }, () => null), ...Array.from({ length: 50 }, (_, i) => `t${i + 10}`)];
    const [first, ...rest] = ranges("VarChar", nulls, 4);
    expect(new Set(first)).toEqual(new Set([null]));
    expect(rest.flat()).not.toContain(null);
    expect(ranges("Int32", [null, null], 3)).toEqual([[null, null]]);
    expect(ranges("Int32", [], 3)).toEqual([]);
  });

  it("are told of rows that lack the column: they are with the nulls", () => {
    const sample = new KeySample();
    sample.add(undefined, allRows(3));
    sample.add(columnFor("Int32", [1, 2, 3]), allRows(3));
    const boundaries = sample.boundaries(2);
    expect(splitRows(undefined, allRows(2), boundaries)).toEqual([allRows(2), ...boundaries.map(() => allRows(0))]);
  });
});
