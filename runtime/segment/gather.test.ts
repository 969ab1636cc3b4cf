import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { ALL_FIELDS, batchOf, type ModelRow, rowsArbitrary, rowsOf } from "../testing/column-rows.ts";
import type { ArrayColumn, Column } from "./column.ts";
import { batchBytes, columnRows, gatherColumn, gatherRows, takeRows } from "./gather.ts";

const fieldIds = ALL_FIELDS.map(({ fieldId }) => fieldId);

/** A nullable field is null in the rows of batches that lack its column. */
const LATE_FIELDS = [102, 109, 111];

describe("gatherRows", () => {
  it("gives the picked rows of several batches, null where a batch lacks the column", () => {
    const parts = fc.array(
      fc.record({ rows: rowsArbitrary(ALL_FIELDS, { minLength: 1, maxLength: 6 }), isOld: fc.boolean() }),
      { minLength: 1, maxLength: 4 },
    );
    const picks = fc.array(fc.tuple(fc.nat(), fc.nat()), { maxLength: 20 });
    fc.assert(
      fc.property(parts, picks, (given, places) => {
        const models = given.map(({ rows, isOld }) =>
          rows.map((row) => (isOld ? { ...row, ...Object.fromEntries(LATE_FIELDS.map((id) => [id, null])) } : row)),
        );
        const batches = given.map(({ isOld }, p) =>
          batchOf(isOld ? ALL_FIELDS.filter(({ fieldId }) => !LATE_FIELDS.includes(fieldId)) : ALL_FIELDS, models[p]!),
        );
        const chosen = places.map(([p, row]) => {
          const source = p % batches.length;
          return { source, row: row % batches[source]!.rowCount };
        });
        const pick = {
          sources: Uint32Array.from(chosen, ({ source }) => source),
          rows: Uint32Array.from(chosen, ({ row }) => row),
        };
        const gathered = gatherRows(batches, pick, fieldIds);
        const expected = chosen.map(({ source, row }): ModelRow => models[source]![row]!);
        expect(rowsOf(gathered, ALL_FIELDS)).toEqual(expected);
        for (const column of Object.values(gathered.columns)) {
          expect(columnRows(column)).toBe(places.length);
          if (column.kind === "array") expect(column.items.valid).toBeUndefined();
        }
      }),
    );
  });

  it("leaves out a field that no batch has", () => {
    const batch = batchOf(ALL_FIELDS.slice(0, 2), [{ 100: 1n, 101: [1, 2, 3] }]);
    const gathered = gatherRows([batch], { sources: new Uint32Array(1), rows: new Uint32Array(1) }, [100, 109]);
    expect(Object.keys(gathered.columns)).toEqual(["100"]);
  });

  it("says that all rows have a value by leaving validity out, also when other rows have none", () => {
    const ages: Column = { kind: "int32", values: Int32Array.of(7, 0), valid: Uint32Array.of(1) };
    const tags = { kind: "array", offsets: Uint32Array.of(0, 1), items: ages } as ArrayColumn;
    const pick = { sources: Uint32Array.of(1, 1), rows: Uint32Array.of(0, 0) };
    expect(gatherColumn([undefined, ages], ages, pick)).not.toHaveProperty("valid");
    expect(gatherColumn([undefined, tags], tags, pick)).not.toHaveProperty("valid");
  });
});

describe("takeRows", () => {
  it("gives rows of one batch in the order asked, repeats included", () => {
    fc.assert(
      fc.property(rowsArbitrary(ALL_FIELDS, { minLength: 1, maxLength: 6 }), fc.array(fc.nat()), (rows, places) => {
        const wanted = places.map((place) => place % rows.length);
        const taken = takeRows(batchOf(ALL_FIELDS, rows), Uint32Array.from(wanted));
        expect(rowsOf(taken, ALL_FIELDS)).toEqual(wanted.map((row) => rows[row]));
      }),
    );
  });
});

describe("batchBytes", () => {
  it("counts what the arrays of a batch hold", () => {
    const batch = {
      rowCount: 2,
      columns: {
        1: { kind: "floatVector" as const, dimension: 3, values: new Float32Array(6) },
        2: { kind: "varchar" as const, offsets: Uint32Array.of(0, 2, 5), bytes: new Uint8Array(5) },
        3: {
          kind: "array" as const,
          offsets: Uint32Array.of(0, 2, 2),
          items: { kind: "int64" as const, values: new BigInt64Array(2) },
        },
      },
    };
    expect(batchBytes(batch)).toBe(24 + (12 + 5) + (12 + 16));
  });
});
