import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { ALL_FIELDS, type Cell, cellsOf, columnOf, rowsArbitrary } from "../testing/column-rows.ts";
import { ColumnBuilder } from "./column-builder.ts";

describe("ColumnBuilder", () => {
  for (const field of ALL_FIELDS) {
    const name = field.type === "Array" ? `Array of ${field.elementType}` : field.type;

    it(`grows a column of ${name} as an array of cells would, and leaves views taken earlier alone`, () => {
      // null: a batch that lacks the column. Parts of a batch are appended as a segment appends what fits a chunk.
      const append = fc.record({
        rows: fc.option(rowsArbitrary([field], { minLength: 1, maxLength: 40 }), { freq: 8 }),
        from: fc.nat(),
        to: fc.nat(),
      });
      fc.assert(
        fc.property(fc.array(append, { minLength: 1, maxLength: 12 }), (appends) => {
          const builder = new ColumnBuilder(columnOf(field, []), 2);
          const model: Cell[] = [];
          const views: { cells: Cell[]; view: ReturnType<ColumnBuilder["view"]> }[] = [];
          for (const { rows, from, to } of appends) {
            if (rows === null) {
              if (!field.nullable) continue;
              builder.append(undefined, 0, 3);
              model.push(null, null, null);
            } else {
              const start = from % rows.length;
              const end = start + (to % (rows.length - start + 1));
              const cells = rows.map((row) => row[field.fieldId]!);
              builder.append(columnOf(field, cells), start, end);
              model.push(...cells.slice(start, end));
            }
            views.push({ cells: [...model], view: builder.view() });
          }
          for (const { cells, view } of views) expect(cellsOf(view, cells.length)).toEqual(cells);
        }),
        { numRuns: 60 },
      );
    });
  }

  it("is as a new one once it is cleared, whatever it had", () => {
    for (const field of ALL_FIELDS) {
      const rows = rowsArbitrary([field], { minLength: 1, maxLength: 70 });
      fc.assert(
        fc.property(rows, rows, (before, after) => {
          const [old, cells] = [before, after].map((each) => each.map((row) => row[field.fieldId]!)) as [
            Cell[],
            Cell[],
          ];
          const builder = new ColumnBuilder(columnOf(field, []), 2);
          builder.append(columnOf(field, old), 0, old.length);
          builder.clear();
          const fresh = new ColumnBuilder(columnOf(field, []), 2);
          for (const each of [builder, fresh]) {
            if (field.nullable) each.append(undefined, 0, 2);
            each.append(columnOf(field, cells), 0, cells.length);
          }
          expect(builder.view()).toEqual(fresh.view());
        }),
        { numRuns: 20 },
      );
    }
  });

  it("holds nothing of the columns that it was given", () => {
    for (const field of ALL_FIELDS) {
      const [given] = fc.sample(rowsArbitrary([field], { minLength: 5, maxLength: 5 }), 1);
      const column = columnOf(
        field,
        given!.map((row) => row[field.fieldId]!),
      );
      const builder = new ColumnBuilder(column, 2);
      builder.append(column, 0, 5);
      expect(builder.sample).toEqual(columnOf(field, []));
    }
  });

  it("gives zeros for the data of a row without a value, so that arrays line up", () => {
    const builder = new ColumnBuilder({ kind: "int32", values: new Int32Array(0) }, 1);
    builder.append({ kind: "int32", values: Int32Array.of(5) }, 0, 1);
    builder.append(undefined, 0, 2);
    expect(builder.view()).toEqual({ kind: "int32", values: Int32Array.of(5, 0, 0), valid: Uint32Array.of(1) });
  });
});
