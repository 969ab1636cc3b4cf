/** Columns of clients against rows of clients: the same batch, the same refusals. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { decode, encode } from "../protocol/codec.ts";
import type { CollectionSchema, FieldSchema } from "../schema.ts";
import { hasBit } from "../segment/bitset.ts";
import type { Column, ColumnBatch } from "../segment/column.ts";
import { columnRows, gatherColumn } from "../segment/gather.ts";
import { varcharColumn } from "../segment/keys.ts";
import { type GivenColumn, givenColumns, givenToBatch } from "./given-columns.ts";
import { rowsToColumns } from "./rows-to-columns.ts";

function field(name: string, type: FieldSchema["type"], more: Partial<FieldSchema> = {}): Omit<FieldSchema, "fieldId"> {
  return { name, type, description: "", isPrimary: false, nullable: false, isDynamic: false, ...more };
}

function schemaOf(fields: readonly Omit<FieldSchema, "fieldId">[]): CollectionSchema {
  const enableDynamicField = fields.some(({ isDynamic }) => isDynamic);
  return {
    version: 1,
    autoId: false,
    enableDynamicField,
    fields: fields.map((one, i) => ({ ...one, fieldId: 100 + i })),
  };
}

const nullable = { nullable: true };
const SCHEMA = schemaOf([
  field("id", "Int64", { isPrimary: true }),
  field("v", "FloatVector", { dimension: 2 }),
  field("f16", "Float16Vector", { dimension: 2 }),
  field("sparse", "SparseFloatVector"),
  field("flag", "Bool", nullable),
  field("i8", "Int8", { defaultValue: 7 }),
  field("double", "Double", nullable),
  field("text", "VarChar", { ...nullable, maxLength: 40 }),
  field("json", "JSON", nullable),
  field("place", "Geometry", nullable),
  field("at", "Timestamptz", nullable),
  field("longs", "Array", { ...nullable, elementType: "Int64", maxCapacity: 4 }),
  field("$meta", "JSON", { isDynamic: true }),
]);

const maybe = <T>(values: fc.Arbitrary<T>) => fc.option(values);
const number = fc.integer({ min: -9, max: 9 });
const row = fc.record({
  ...{ id: number, v: fc.tuple(number, number), f16: fc.tuple(number, number) },
  sparse: fc.dictionary(fc.integer({ min: 0, max: 99 }).map(String), fc.integer({ min: 1, max: 9 })),
  ...{ flag: maybe(fc.boolean()), i8: maybe(number), double: maybe(number) },
  text: maybe(fc.string({ unit: "grapheme", maxLength: 3 })),
  json: maybe(fc.jsonValue({ maxDepth: 1 }).filter((value) => value !== null)),
  place: maybe(fc.constantFrom("POINT (1 2)", "LINESTRING (0 0, 1 1)")),
  at: maybe(fc.constantFrom("2024-05-01T00:00:00Z", "1999-12-31T23:59:59Z")),
  longs: maybe(fc.array(number, { maxLength: 4 })),
  dynamic: number,
});

/** The columns of a batch as a client would send them. @param isPacked without values where there is none */
function columnsOf({ rowCount, columns }: ColumnBatch, isPacked: boolean): GivenColumn[] {
  return SCHEMA.fields.map(({ fieldId, name }) => {
    const column = columns[fieldId]!;
    const bits = "valid" in column ? column.valid : undefined;
    if (bits === undefined || !isPacked) return { name, column };
    const valid = Uint8Array.from({ length: rowCount }, (_, i) => Number(hasBit(bits, i)));
    const rows = Uint32Array.from(valid.keys()).filter((i) => valid[i] === 1);
    const { valid: _, ...values } = gatherColumn([column], column, { sources: new Uint32Array(rows.length), rows }) as {
      valid?: unknown;
    };
    return { name, column: values as Column, valid };
  });
}

test("columns make the batch that rows make, packed or not, also after MessagePack", () => {
  fc.assert(
    fc.property(fc.array(row, { minLength: 1, maxLength: 6 }), fc.boolean(), (rows, isPacked) => {
      const batch = rowsToColumns(SCHEMA, rows);
      const given = columnsOf(batch, isPacked);
      expect(givenToBatch(SCHEMA, givenColumns(given))).toEqual(batch);
      const again = givenToBatch(SCHEMA, givenColumns(decode(encode(given)), rows.length));
      expect(decode(encode(again))).toEqual(decode(encode(batch)));
    }),
    { numRuns: 60 },
  );
});

describe("one field", () => {
  /** What becomes of a column beside a primary key of as many rows. */
  const given = (spec: Omit<FieldSchema, "fieldId">, column: Column | undefined, more: Partial<GivenColumn> = {}) => {
    const rowCount = more.valid?.length ?? columnRows(column!);
    const keys: Column = { kind: "int64", values: BigInt64Array.from({ length: rowCount }, (_, i) => BigInt(i)) };
    const schema = schemaOf([field("id", "Int64", { isPrimary: true }), spec]);
    const columns = [
      { name: "id", column: keys },
      { name: spec.name, column, ...more },
    ];
    return givenToBatch(schema, givenColumns(columns)).columns[101];
  };
  const json = (texts: string[]): Column => ({ ...varcharColumn(texts), kind: "json" });

  test("whole numbers of another width are taken, where they fit", () => {
    const column: Column = { kind: "int32", values: Int32Array.of(-128, 127) };
    expect(given(field("f", "Int8"), column)).toEqual({ kind: "int8", values: Int8Array.of(-128, 127) });
    expect(given(field("f", "Int64"), column)).toEqual({ kind: "int64", values: BigInt64Array.of(-128n, 127n) });
  });

  test("rows without a value get the default, a JSON of no bytes is null", () => {
    const column: Column = { kind: "int32", values: Int32Array.of(5) };
    const withDefault = field("f", "Int32", { defaultValue: 7 });
    expect(given(withDefault, column, { valid: Uint8Array.of(0, 1) })).toEqual({
      kind: "int32",
      values: Int32Array.of(7, 5),
    });
    expect(given(withDefault, undefined, { valid: Uint8Array.of(0, 0) })).toEqual({
      kind: "int32",
      values: Int32Array.of(7, 7),
    });
    expect(given(field("f", "JSON", nullable), json(["", "1"]))).toEqual({
      ...json(["", "1"]),
      valid: Uint32Array.of(2),
    });
    expect(given(field("f", "JSON"), json(["", "1"]))).toEqual(json(["null", "1"]));
  });

  const text = field("f", "VarChar", { maxLength: 4 });
  const pairs = (...numbers: number[]) => {
    const bytes = new Uint8Array(numbers.length * 4);
    const view = new DataView(bytes.buffer);
    numbers.forEach((one, i) => {
      if (i % 2 === 0) view.setUint32(i * 4, one, true);
      else view.setFloat32(i * 4, one, true);
    });
    return { kind: "sparseVector", offsets: Uint32Array.of(0, bytes.length), bytes } as Column;
  };
  const floats = (...values: number[]): Column => ({
    kind: "floatVector",
    dimension: 2,
    values: Float32Array.from(values),
  });
  const array = field("f", "Array", { elementType: "Int8", maxCapacity: 2 });
  const arrays = (offsets: number[], items: Column): Column =>
    ({ kind: "array", offsets: Uint32Array.from(offsets), items }) as Column;
  const long = { kind: "int32", values: Int32Array.of(1, 2, 300) } as Column;

  test.each<[string, Omit<FieldSchema, "fieldId">, Column, number, string]>([
    ["a number out of range", field("f", "Int8"), long, 1100, "the 2th element (300) out of range: [-128, 127]"],
    ["another kind", field("f", "Bool"), long, 1804, "expected a column of Bool, got one of int32"],
    ["a text too long", text, varcharColumn(["a", "grüße"]), 1100, "row number: 1, length: 7, max length: 4"],
    [
      "bytes that are no text",
      text,
      { ...varcharColumn(["aa", "b"]), bytes: Uint8Array.of(97, 0xff, 98) } as Column,
      1804,
      "row 0: field f: the text is not valid UTF-8",
    ],
    [
      "a text that begins inside of a character",
      text,
      { kind: "varchar", offsets: Uint32Array.of(0, 1, 2), bytes: Uint8Array.of(0xc3, 0xbc) },
      1804,
      "not valid UTF-8",
    ],
    [
      "offsets that go back",
      text,
      { kind: "varchar", offsets: Uint32Array.of(0, 2, 1, 2), bytes: Uint8Array.of(97, 98) },
      1804,
      "the offsets do not ascend",
    ],
    [
      "offsets beyond the bytes",
      text,
      { kind: "varchar", offsets: Uint32Array.of(0, 9), bytes: Uint8Array.of(97) },
      1804,
      "do not end where the values end",
    ],
    [
      "a float that is none",
      field("f", "Float"),
      { kind: "float", values: Float32Array.of(1, Number.NaN) },
      1100,
      "row 1: field f: value 'NaN'",
    ],
    [
      "a vector that has none",
      field("f", "FloatVector", { dimension: 2 }),
      floats(1, 2, 3, Infinity),
      1100,
      "row 1: field f: value 'Infinity'",
    ],
    [
      "another dimension",
      field("f", "FloatVector", { dimension: 4 }),
      floats(1, 2),
      1804,
      "expected a vector of dimension 4, got one of 2",
    ],
    [
      "a half that is infinite",
      field("f", "Float16Vector", { dimension: 1 }),
      { kind: "float16Vector", dimension: 1, values: Uint8Array.of(0, 0, 0, 0xfc) },
      1100,
      "row 1",
    ],
    [
      "indices that do not ascend",
      field("f", "SparseFloatVector"),
      pairs(5, 1, 3, 1),
      1100,
      "unsorted or same indices",
    ],
    [
      "a weight below zero",
      field("f", "SparseFloatVector"),
      pairs(5, -1),
      1100,
      "negative value in sparse float vector",
    ],
    [
      "half a pair",
      field("f", "SparseFloatVector"),
      { kind: "sparseVector", offsets: Uint32Array.of(0, 4), bytes: new Uint8Array(4) },
      1804,
      "invalid data length",
    ],
    ["JSON that is none", field("f", "JSON"), json(["{}", "{"]), 1804, "row 1: field f: invalid JSON"],
    [
      "JSON nested too deep",
      field("f", "JSON"),
      json([`${"[".repeat(501)}${"]".repeat(501)}`]),
      1100,
      "nested deeper than 500",
    ],
    ["JSON too long", field("f", "JSON"), json([`"${"x".repeat(65_536)}"`]), 1100, "exceeds max length (65536)"],
    ["a list too long", array, arrays([0, 0, 3], long), 1100, "the length (3) of 1th array exceeds max capacity (2)"],
    ["an item out of range", array, arrays([0, 2, 3], long), 1100, "row 1: field f: the 1th element (300)"],
    [
      "a time out of bounds",
      field("f", "Timestamptz"),
      { kind: "int64", values: BigInt64Array.of(2n ** 62n) },
      1100,
      "invalid timestamptz",
    ],
    [
      "a time that is none",
      field("f", "Timestamptz"),
      varcharColumn(["tomorrow"]),
      1100,
      "invalid timestamptz string: tomorrow",
    ],
    [
      "a place that is none",
      field("f", "Geometry"),
      varcharColumn(["POINT (1 2)", "POINT"]),
      1100,
      "row 1: field f: invalid geometry WKT",
    ],
  ])("%s is refused", (_, spec, column, code, message) => {
    const refused = () => given(spec, column);
    expect(refused).toThrowError(message);
    expect(refused).toThrowError(expect.objectContaining({ code }));
  });

  test("more rows than any column has are refused before room is made for them", () => {
    const column = { kind: "int64", values: BigInt64Array.of(1n) };
    expect(() => givenColumns([{ name: "id", column }], 2 ** 40)).toThrowError(/fewer rows than the passed num_rows/);
    expect(() => givenColumns([], 2 ** 40)).toThrowError(/fewer rows than the passed num_rows/);
  });

  test("a refusal names the row, not the place among those that have a value", () => {
    const column: Column = { kind: "int32", values: Int32Array.of(1, 300) };
    const valid = Uint8Array.of(0, 1, 0, 1);
    expect(() => given(field("f", "Int8", nullable), column, { valid })).toThrowError("row 3: field f");
    expect(() => given(field("f", "Int8"), column, { valid })).toThrowError("row 0: field f: null is not allowed");
  });

  test.each([
    ["no list", {}, "expected a list"],
    ["no name", [{}], "a column has no name"],
    ["no arrays", [{ name: "f", column: { kind: "int64", values: [1] } }], "not made of the arrays of its kind"],
    ["no rows", [], "there are no rows"],
  ])("columns with %s are refused", (_, columns, message) => {
    expect(() => givenColumns(columns)).toThrowError(message);
  });
});
