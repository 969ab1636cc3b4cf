import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { FoundRows } from "../protocol/values.ts";
import type { Int64Column } from "../segment/column.ts";
import { keyAt, keysOf } from "../segment/keys.ts";
import { systemClock } from "../system-clock.ts";
import { mergeRows } from "./merge-rows.ts";

interface FoundRow {
  key: number | string;
  ts: number;
  value: number;
}

const FIELD = 101;

function foundOf(rows: FoundRow[], kind: "int64" | "varchar"): FoundRows {
  return {
    keys: keysOf(
      kind,
      rows.map(({ key }) => key),
    ),
    timestamps: BigInt64Array.from(rows, ({ ts }) => BigInt(ts)),
    batch: {
      rowCount: rows.length,
      columns: { [FIELD]: { kind: "int64", values: BigInt64Array.from(rows, ({ value }) => BigInt(value)) } },
    },
  };
}

function rowsOf(found: FoundRows): FoundRow[] {
  return Array.from(found.timestamps, (ts, row) => ({
    key: keyAt(found.keys, row) as number | string,
    ts: Number(ts),
    value: Number((found.batch.columns[FIELD] as Int64Column).values[row]),
  }));
}

/** The newest row of each key, by key, the first `limit`. */
function model(parts: FoundRow[][], limit: number | null): FoundRow[] {
  const newest = new Map<number | string, FoundRow>();
  for (const row of parts.flat()) {
    const known = newest.get(row.key);
    if (known === undefined || row.ts > known.ts) newest.set(row.key, row);
  }
  const sorted = [...newest.values()].sort((a, b) =>
    typeof a.key === "string" ? Buffer.compare(Buffer.from(a.key), Buffer.from(String(b.key))) : a.key - Number(b.key),
  );
  return limit === null ? sorted : sorted.slice(0, limit);
}

/** Timestamps are all different, as the log's are of one key's rows. */
function partsArbitrary(key: fc.Arbitrary<number | string>): fc.Arbitrary<FoundRow[][]> {
  return fc
    .tuple(fc.array(fc.array(key, { maxLength: 8 }), { minLength: 1, maxLength: 4 }), fc.infiniteStream(fc.nat(1)))
    .map(([parts, stream]) => {
      const total = parts.flat().length;
      let n = 0;
      return parts.map((keys) =>
        keys.map((k) => {
          n++;
          const isEarly = stream.next().value === 0;
          return { key: k, ts: isEarly ? n : n + total, value: n };
        }),
      );
    });
}

const CASES = [
  ["int64", partsArbitrary(fc.integer({ min: -5, max: 5 }))],
  ["varchar", partsArbitrary(fc.constantFrom("a", "b", "\u{1f600}", "\uffee", "ab", ""))],
] as const;

describe("mergeRows", () => {
  it.each(CASES)(
    "keeps the newest row of each key, ascending by key, at most limit (%s keys)",
    async (kind, arbitrary) => {
      await fc.assert(
        fc.asyncProperty(arbitrary, fc.option(fc.integer({ min: 1, max: 6 })), async (parts, limit) => {
          const merged = await mergeRows(
            parts.map((rows) => foundOf(model([rows], null), kind)),
            { fieldIds: [FIELD], limit },
            systemClock,
          );
          expect(rowsOf(merged)).toEqual(model(parts, limit));
        }),
      );
    },
  );

  it.each(CASES)(
    "keeps another order that the parts have, and all rows of a key (%s keys)",
    async (kind, arbitrary) => {
      const order = [{ fieldId: FIELD, isDescending: true }];
      const ordered = (rows: FoundRow[]) => [...rows].sort((a, b) => b.value - a.value);
      await fc.assert(
        fc.asyncProperty(arbitrary, fc.option(fc.integer({ min: 1, max: 6 })), async (parts, limit) => {
          const merged = await mergeRows(
            parts.map((rows) => foundOf(ordered(model([rows], null)), kind)),
            { fieldIds: [FIELD], limit, order },
            systemClock,
          );
          const all = parts.flatMap((rows) => model([rows], null));
          expect(rowsOf(merged)).toEqual(ordered(all).slice(0, limit ?? undefined));
        }),
      );
    },
  );

  it("brings the columns asked for and no others", async () => {
    const part = foundOf([{ key: 1, ts: 1, value: 7 }], "int64");
    const merged = await mergeRows([part], { fieldIds: [], limit: null }, systemClock);
    expect(merged.batch).toEqual({ rowCount: 1, columns: {} });
    expect(keyAt(merged.keys, 0)).toBe(1);
  });
});
