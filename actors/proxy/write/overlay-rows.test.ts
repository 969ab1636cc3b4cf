import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type Row, rowsToColumns } from "../../../runtime/rows/rows-to-columns.ts";
import type { CollectionSchema, FieldSchema } from "../../../runtime/schema.ts";
import type { KeyColumn } from "../../../runtime/segment/keys.ts";
import { columnsToRows } from "../columns-to-rows.ts";
import { outputFieldsOf } from "../output-fields.ts";
import { type FieldOp, fieldsToRead, overlayRows } from "./overlay-rows.ts";

function field(name: string, type: FieldSchema["type"], more: Partial<FieldSchema> = {}): Omit<FieldSchema, "fieldId"> {
  return { name, type, description: "", isPrimary: false, nullable: false, isDynamic: false, ...more };
}

const FIELDS = [
  field("id", "Int64", { isPrimary: true }),
  field("vec", "Int8Vector", { dimension: 2 }),
  field("text", "VarChar", { maxLength: 9, nullable: true }),
  field("count", "Int32", { defaultValue: 7 }),
  field("list", "Array", { elementType: "Int64", maxCapacity: 9, nullable: true }),
  field("$meta", "JSON", { isDynamic: true }),
].map((spec, i) => ({ ...spec, fieldId: 100 + i }));
const SCHEMA: CollectionSchema = { version: 1, fields: FIELDS, autoId: false, enableDynamicField: true };
const NO_OPS = new Map<string, FieldOp>();

type Model = Record<string, unknown>;

/** What an overlay makes, as rows of a reply. */
function overlaid(old: Row[], given: Row[], ops: ReadonlyMap<string, FieldOp> = NO_OPS): Model[] {
  const batch = rowsToColumns(SCHEMA, old);
  const overlay = { rows: given, ops };
  // No more than what is said to be needed.
  const needed = fieldsToRead(SCHEMA, overlay).map((id) => [id, batch.columns[id]!] as const);
  const rows = Int32Array.from(given, ({ id }) => old.findIndex((row) => row.id === id));
  const existing = { batch: { rowCount: old.length, columns: Object.fromEntries(needed) }, rows };
  const merged = overlayRows(SCHEMA, overlay, existing);
  const keys = rowsToColumns(
    SCHEMA,
    given.map(({ id }) => ({ id, vec: [0, 0] })),
  ).columns[100] as KeyColumn;
  return columnsToRows(keys, merged, outputFieldsOf(SCHEMA, ["*"])).map(({ vec, ...row }) => ({
    ...row,
    vec: Array.from(vec as Uint8Array),
  }));
}

const OLD: Row[] = [
  { id: 1, vec: [1, 1], text: "one", count: 1, list: [1, 2, 1], a: 1, b: 1 },
  { id: 2, vec: [2, 2] },
];

describe("partial rows", () => {
  it("change what they give, and nothing else, as a model of plain objects says", () => {
    const value = {
      vec: fc.tuple(fc.nat(99), fc.nat(99)),
      text: fc.option(fc.string({ unit: "grapheme-ascii", maxLength: 9 })),
      count: fc.integer({ min: 0, max: 9 }),
      list: fc.option(fc.array(fc.nat(9), { maxLength: 4 })),
      a: fc.nat(9),
      b: fc.nat(9),
    };
    const whole = fc.record(value, { requiredKeys: ["vec"] });
    const named = fc.subarray(Object.keys(value).slice(0, 4));
    const olds = fc.array(whole, { maxLength: 4 });
    const updates = named.chain((names) =>
      fc.uniqueArray(
        fc.record({
          id: fc.nat(5),
          static: fc.record(Object.fromEntries(names.map((name) => [name, value[name as keyof typeof value]]))),
          dynamic: fc.record({ a: value.a, b: value.b }, { requiredKeys: [] }),
        }),
        { selector: ({ id }) => id, minLength: 1, maxLength: 4 },
      ),
    );
    fc.assert(
      fc.property(olds, updates, (stored, changes) => {
        const old = stored.map((row, id) => ({ ...row, id }));
        const given: Row[] = changes.map((change) => ({ id: change.id, ...change.static, ...change.dynamic }));
        const model = given.map((row): Model | null => {
          const before = old.find(({ id }) => id === row.id);
          if (before === undefined && row.vec === undefined) return null;
          return { text: null, list: null, count: 7, ...before, ...row };
        });
        if (model.includes(null)) expect(() => overlaid(old, given)).toThrowError(/field vec: the field is missing/);
        else expect(overlaid(old, given)).toEqual(model);
      }),
    );
  });

  it("append to arrays and remove from them", () => {
    const given = [
      { id: 1, list: [1, 3] },
      { id: 2, list: [4] },
    ];
    const lists = (op: FieldOp) => overlaid(OLD, given, new Map([["list", op]])).map(({ list }) => list);
    expect(lists("ARRAY_APPEND")).toEqual([[1, 2, 1, 1, 3], [4]]);
    expect(lists("ARRAY_REMOVE")).toEqual([[2], null]);
    expect(lists("REPLACE")).toEqual([[1, 3], [4]]);
  });

  it("append to a row that is not there what they give", () => {
    const ops = new Map([["list", "ARRAY_APPEND" as const]]);
    expect(overlaid(OLD, [{ id: 9, vec: [9, 9], list: [5] }], ops)).toMatchObject([{ id: 9, list: [5], count: 7 }]);
  });

  it("take the default where the old row was written before the field was there", () => {
    const rows = [{ id: 1, text: "new" }];
    const batch = rowsToColumns(SCHEMA, OLD);
    const { 103: _, ...columns } = batch.columns;
    const existing = { batch: { rowCount: 2, columns }, rows: Int32Array.of(0) };
    const merged = overlayRows(SCHEMA, { rows, ops: NO_OPS }, existing);
    expect(merged.columns[103]).toEqual({ kind: "int32", values: Int32Array.of(7) });
  });

  it("may not bring what the schema does not have, without a dynamic field", () => {
    const closed = { ...SCHEMA, enableDynamicField: false, fields: FIELDS.slice(0, 5) };
    const existing = { batch: rowsToColumns(SCHEMA, OLD), rows: Int32Array.of(0) };
    expect(() => overlayRows(closed, { rows: [{ id: 1, other: 1 }], ops: NO_OPS }, existing)).toThrowError(
      /field other: the schema has no such field/,
    );
  });
});
