import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { isVdbError } from "../../runtime/errors.ts";
import { parseJson, toJson } from "../../runtime/protocol/public-codec.ts";
import { Batch } from "../../runtime/protocol/values.ts";
import {
  primaryKeyColumn,
  type Row,
  refusePrimaryKeys,
  rowsOf,
  rowsToColumns,
} from "../../runtime/rows/rows-to-columns.ts";
import type { CollectionSchema, FieldSchema } from "../../runtime/schema.ts";
import type { Column } from "../../runtime/segment/column.ts";
import { type KeyColumn, keysOf } from "../../runtime/segment/keys.ts";
import { columnsToRows } from "./columns-to-rows.ts";
import { outputFieldsOf } from "./output-fields.ts";
import { refuseRepeatedKeys } from "./write/repeated-keys.ts";

const DIMENSION = 3;

function field(name: string, type: FieldSchema["type"], more: Partial<FieldSchema> = {}): Omit<FieldSchema, "fieldId"> {
  return { name, type, description: "", isPrimary: false, nullable: false, isDynamic: false, ...more };
}

function schemaOf(fields: Omit<FieldSchema, "fieldId">[], autoId = false): CollectionSchema {
  const all = fields.map((spec, i) => ({ ...spec, fieldId: 100 + i }));
  return { version: 1, fields: all, autoId, enableDynamicField: all.some(({ isDynamic }) => isDynamic) };
}

const PK = field("id", "Int64", { isPrimary: true });
const VECTOR = field("vec", "FloatVector", { dimension: DIMENSION });
const META = field("$meta", "JSON", { isDynamic: true });

function columnNamed(schema: CollectionSchema, rows: Row[], name: string): Column {
  const { fieldId } = schema.fields.find((candidate) => candidate.name === name)!;
  return rowsToColumns(schema, rows).columns[fieldId]!;
}

/** A schema of a key, a vector and one more field. */
function oneField(type: FieldSchema["type"], more: Partial<FieldSchema> = {}): CollectionSchema {
  return schemaOf([PK, VECTOR, field("x", type, more)]);
}

const vec = [1, 2, 3];

/** The text of a JSON value of so many levels. */
function nested(levels: number): string {
  return "[".repeat(levels) + "]".repeat(levels);
}

describe("refused rows", () => {
  const good = { id: 1, vec, x: 1 };
  const text = { maxLength: 4 };
  const ints = { elementType: "Int8", maxCapacity: 2 } as const;

  /** What is refused: schema, the x of the bad row (or the whole row), Milvus's code, words of the message. */
  const cases: [string, CollectionSchema, Row, number, string][] = [
    [
      "an Int8 above its range",
      oneField("Int8"),
      { ...good, x: 128 },
      1100,
      "the 1th element (128) out of range: [-128, 127]",
    ],
    [
      "an Int16 below its range",
      oneField("Int16"),
      { ...good, x: -32_769 },
      1100,
      "the 1th element (-32769) out of range: [-32768, 32767]",
    ],
    [
      "an Int32 above its range",
      oneField("Int32"),
      { ...good, x: 2 ** 31 },
      1100,
      "out of range: [-2147483648, 2147483647]",
    ],
    [
      "an Int32 as a large bigint",
      oneField("Int32"),
      { ...good, x: 2n ** 40n },
      1100,
      "the 1th element (1099511627776) out of range",
    ],
    [
      "an Int64 beyond 64 bits",
      oneField("Int64"),
      { ...good, x: 2n ** 63n },
      1100,
      "the 1th element (9223372036854775808) out of range",
    ],
    ["an Int64 text beyond 64 bits", oneField("Int64"), { ...good, x: "-9223372036854775809" }, 1100, "out of range"],
    [
      "an Int64 of 100 digits as text",
      oneField("Int64"),
      { ...good, x: "7".repeat(100) },
      1100,
      `the 1th element (${"7".repeat(60)}…) out of range: [-9223372036854775808, 9223372036854775807]`,
    ],
    [
      "an Int64 of 100 digits in JSON",
      oneField("Int64"),
      parseJson(`{"id":1,"vec":[1,2,3],"x":${"7".repeat(100)}}`) as Row,
      1100,
      "the 1th element (7.777777777777778e+99) out of range: [-9223372036854775808, 9223372036854775807]",
    ],
    [
      "a JSON value of very many levels",
      oneField("JSON"),
      { ...good, x: JSON.parse(nested(100_000)) as unknown },
      1100,
      "the value is nested deeper than 500 levels",
    ],
    ["a JSON text of too many levels", oneField("JSON"), { ...good, x: nested(501) }, 1100, "nested deeper than 500"],
    [
      "a dynamic value of too many levels, with an integer that only a bigint holds",
      schemaOf([PK, VECTOR, field("x", "Int8"), META]),
      { ...good, extra: { big: 2n ** 60n, deep: JSON.parse(nested(500)) as unknown } },
      1100,
      "field $meta: the value is nested deeper than 500 levels",
    ],
    [
      "what MessagePack makes of a key __proto__",
      schemaOf([PK, VECTOR, field("x", "Int8"), META]),
      { ...good, __proto_: 1 },
      1804,
      "field __proto_: MessagePack turns the key __proto__ into it",
    ],
    [
      "an Int64 number that is not exact",
      oneField("Int64"),
      { ...good, x: 2 ** 60 },
      1100,
      "give it as a bigint or as text",
    ],
    ["a fraction for an integer", oneField("Int32"), { ...good, x: 1.5 }, 1804, "expected Int32, got number 1.5"],
    ["a fraction for an Int64", oneField("Int64"), { ...good, x: 1.5 }, 1804, "expected Int64, got number 1.5"],
    ["a text for an Int16", oneField("Int16"), { ...good, x: "5" }, 1804, 'expected Int16, got string "5"'],
    ["a text that is no Int64", oneField("Int64"), { ...good, x: "5x" }, 1804, 'expected Int64, got string "5x"'],
    ["a number for a Bool", oneField("Bool"), { ...good, x: 1 }, 1804, "expected Bool, got number 1"],
    ["a text for a Float", oneField("Float"), { ...good, x: "1" }, 1804, 'expected Float, got string "1"'],
    ["NaN for a Float", oneField("Float"), { ...good, x: Number.NaN }, 1100, "value 'NaN' is not a number or infinity"],
    [
      "an infinite Double",
      oneField("Double"),
      { ...good, x: Number.NEGATIVE_INFINITY },
      1100,
      "value '-Infinity' is not a number or infinity",
    ],
    [
      "a Float beyond float32",
      oneField("Float"),
      { ...good, x: 1e39 },
      1100,
      "value 'Inf' is not a number or infinity",
    ],
    [
      "a VarChar too long in bytes",
      oneField("VarChar", text),
      { ...good, x: "äöü" },
      1100,
      "length of varchar field x exceeds max length, row number: 1, length: 6, max length: 4",
    ],
    ["a number for a VarChar", oneField("VarChar", text), { ...good, x: 5 }, 1804, "expected VarChar, got number 5"],
    [
      "a JSON value too long",
      oneField("JSON"),
      { ...good, x: { a: "y".repeat(65_536) } },
      1100,
      "exceeds max length (65536)",
    ],
    ["a function for JSON", oneField("JSON"), { ...good, x: () => 1 }, 1804, "expected a JSON value"],
    [
      "an array too long",
      oneField("Array", ints),
      { ...good, x: [1, 2, 3] },
      1100,
      "array length exceeds max capacity: the length (3) of 1th array exceeds max capacity (2)",
    ],
    ["an array with null", oneField("Array", ints), { ...good, x: [1, null] }, 1804, "array elements can not be null"],
    [
      "an array element out of range",
      oneField("Array", ints),
      { ...good, x: [1, 200] },
      1100,
      "the 1th element (200) out of range",
    ],
    [
      "an array element of another type",
      oneField("Array", ints),
      { ...good, x: ["a"] },
      1804,
      'expected Int8, got string "a"',
    ],
    [
      "an array text too long",
      oneField("Array", { elementType: "VarChar", maxCapacity: 2, maxLength: 3 }),
      { ...good, x: ["abcd"] },
      1100,
      "length of varchar field x exceeds max length, row number: 1",
    ],
    ["no array for an Array", oneField("Array", ints), { ...good, x: 5 }, 1804, "expected Array, got number 5"],
    ["a missing field", oneField("Int8"), { id: 1, vec }, 1804, "the field is missing"],
    ["null where it is not allowed", oneField("Int8"), { ...good, x: null }, 1804, "null is not allowed"],
    ["a vector field with null", oneField("Int8"), { ...good, vec: null }, 1804, "null is not allowed"],
    ["a key beyond the schema", oneField("Int8"), { ...good, y: 1 }, 1804, "the schema has no such field"],
  ];
  it.each(cases)("%s", (_, schema, bad, code, words) => {
    const first: Row = { id: 0, vec, x: firstValueOf(schema) };
    expect.assertions(4);
    try {
      rowsToColumns(schema, [first, bad]);
    } catch (error) {
      if (!isVdbError(error)) throw error;
      expect(error.code).toBe(code);
      expect(error.message).toContain(words);
      expect(error.message).toMatch(/row 1: field (x|y|vec|\$meta|__proto_):/);
      expect(error.details).toMatchObject({ row: 1 });
    }
  });

  const vectors: [string, unknown, number, string][] = [
    ["of another dimension", [1, 2], 1804, "expected a vector of dimension 3, got one of 2"],
    [
      "of another dimension, typed",
      Float32Array.of(1, 2, 3, 4),
      1804,
      "expected a vector of dimension 3, got one of 4",
    ],
    ["with NaN", [1, Number.NaN, 3], 1100, "value 'NaN' is not a number or infinity"],
    ["with NaN, typed", Float32Array.of(1, 2, Number.NaN), 1100, "value 'NaN' is not a number or infinity"],
    [
      "with an infinity, typed",
      Float32Array.of(Number.POSITIVE_INFINITY, 2, 3),
      1100,
      "value 'Infinity' is not a number or infinity",
    ],
    ["beyond float32", [1, 1e300, 3], 1100, "value 'Inf' is not a number or infinity"],
    ["with a text", [1, "2", 3], 1804, "expected a number at position 1 of the vector"],
    ["that is no list", "1,2,3", 1804, "expected FloatVector"],
  ];
  it.each(vectors)("a vector %s", (_, value, code, words) => {
    const schema = schemaOf([PK, VECTOR]);
    expect(() =>
      rowsToColumns(schema, [
        { id: 1, vec },
        { id: 2, vec: value },
      ]),
    ).toThrowError(
      expect.objectContaining({
        code,
        message: expect.stringContaining(words),
        details: { row: 1, field: "vec" },
      }) as Error,
    );
  });

  it("rows without a primary key, as 1806", () => {
    expect(() => rowsToColumns(schemaOf([PK, VECTOR]), [{ id: 1, vec }, { vec }])).toThrowError(
      expect.objectContaining({ code: 1806, message: "row 1: field id: the primary key is missing" }) as Error,
    );
  });

  it("rows that bring a key though the collection makes its own, as 1806", () => {
    expect(() => refusePrimaryKeys(schemaOf([PK, VECTOR], true), [{ vec }, { id: 4, vec }])).toThrowError(
      expect.objectContaining({ code: 1806, details: { row: 1, field: "id" } }) as Error,
    );
  });

  it("keys that an upsert names twice, whatever form they have", () => {
    const keys = primaryKeyColumn(schemaOf([PK, VECTOR]), [{ id: 5 }, { id: "6" }, { id: 5n }]);
    expect(() => refuseRepeatedKeys(keys)).toThrowError(
      expect.objectContaining({
        code: 1100,
        message: expect.stringContaining("duplicate primary keys are not allowed in the same batch"),
      }) as Error,
    );
  });

  it("no rows, no objects, no data", () => {
    expect(() => rowsOf([])).toThrowError(expect.objectContaining({ code: 1804 }) as Error);
    expect(() => rowsOf([{}, 5])).toThrowError(
      expect.objectContaining({ code: 1801, message: expect.stringContaining("row 1") }) as Error,
    );
    expect(() => rowsOf([[1]])).toThrowError(expect.objectContaining({ code: 1801 }) as Error);
    expect(() => rowsOf("row")).toThrowError(expect.objectContaining({ code: 1801 }) as Error);
    expect(() => rowsOf(undefined)).toThrowError(expect.objectContaining({ code: 1802 }) as Error);
  });

  it("the reserved name $meta as a key", () => {
    expect(() => rowsToColumns(schemaOf([PK, VECTOR, META]), [{ id: 1, vec, $meta: { a: 1 } }])).toThrowError(
      expect.objectContaining({ code: 1804, details: { row: 0, field: "$meta" } }) as Error,
    );
  });

  it("dynamic keys of a row beyond 64 KiB", () => {
    expect(() => rowsToColumns(schemaOf([PK, VECTOR, META]), [{ id: 1, vec, a: "y".repeat(65_530) }])).toThrowError(
      expect.objectContaining({ code: 1100, details: { row: 0, field: "$meta" } }) as Error,
    );
  });
});

function firstValueOf(schema: CollectionSchema): unknown {
  const { type } = schema.fields[2]!;
  return (
    { Bool: true, VarChar: "a", JSON: {}, Array: [] as unknown[] }[type as string] ??
    (schema.fields[2]!.type === "Array" ? [] : 1)
  );
}

describe("accepted rows", () => {
  it("takes one row object for a list of one", () => {
    expect(rowsOf({ id: 1 })).toEqual([{ id: 1 }]);
  });

  it("takes Int64 as number, bigint and text", () => {
    const column = columnNamed(
      schemaOf([PK, VECTOR]),
      [
        { id: -5, vec },
        { id: 2n ** 62n, vec },
        { id: "-9223372036854775808", vec },
      ],
      "id",
    );
    expect(column).toEqual({ kind: "int64", values: BigInt64Array.of(-5n, 2n ** 62n, -(2n ** 63n)) });
  });

  it("takes every exact number as an Int64", () => {
    fc.assert(
      fc.property(fc.array(fc.maxSafeInteger()), (ids) => {
        const column = primaryKeyColumn(
          schemaOf([PK, VECTOR]),
          ids.map((id) => ({ id })),
        );
        expect(column).toEqual({ kind: "int64", values: BigInt64Array.from(ids, BigInt) });
      }),
    );
  });

  it("puts defaults where a row says nothing or null, also in nullable fields", () => {
    const schema = oneField("Int16", { defaultValue: 7, nullable: true });
    const column = columnNamed(
      schema,
      [
        { id: 1, vec },
        { id: 2, vec, x: null },
        { id: 3, vec, x: 9 },
      ],
      "x",
    );
    expect(column).toEqual({ kind: "int16", values: Int16Array.of(7, 7, 9) });
  });

  it("marks the rows of a nullable field that have a value", () => {
    const schema = oneField("VarChar", { maxLength: 10, nullable: true });
    const column = columnNamed(
      schema,
      [
        { id: 1, vec, x: "a" },
        { id: 2, vec },
        { id: 3, vec, x: null },
        { id: 4, vec, x: "" },
      ],
      "x",
    );
    expect(column).toMatchObject({
      kind: "varchar",
      offsets: Uint32Array.of(0, 1, 1, 1, 1),
      valid: Uint32Array.of(0b1001),
    });
  });

  it("keeps keys beyond the schema, also those that objects have names for", () => {
    const schema = schemaOf([PK, VECTOR, META]);
    const rows = [
      { id: 1, vec, color: "red", constructor: 1 },
      { id: 2, vec },
      parseJson('{"id":3,"vec":[1,2,3],"__proto__":{"a":1},"big":9007199254740993}') as Row,
    ];
    const { offsets, bytes } = columnNamed(schema, rows, "$meta") as { offsets: Uint32Array; bytes: Uint8Array };
    const texts = Array.from(rows.keys(), (row) =>
      Buffer.from(bytes.subarray(offsets[row], offsets[row + 1])).toString(),
    );
    expect(texts).toEqual(['{"color":"red","constructor":1}', "{}", '{"__proto__":{"a":1},"big":9007199254740993}']);
  });

  it("takes JSON of many levels, and brackets in texts for no levels", () => {
    const text = JSON.stringify({ deep: JSON.parse(nested(499)) as unknown, text: '[{"\\\\'.repeat(600) });
    const rows = [{ id: 1, vec, x: text }];
    const { bytes } = columnNamed(oneField("JSON"), rows, "x") as { bytes: Uint8Array };
    expect(Buffer.from(bytes).toString()).toBe(text);
  });

  it("does not take what every object inherits for a field's value", () => {
    const schema = schemaOf([PK, VECTOR, field("constructor", "Int8", { nullable: true })]);
    expect(
      columnNamed(
        schema,
        [
          { id: 1, vec },
          { id: 2, vec, constructor: 3 },
        ],
        "constructor",
      ),
    ).toEqual({
      kind: "int8",
      values: Int8Array.of(0, 3),
      valid: Uint32Array.of(0b10),
    });
  });

  it("takes the text of a JSON value for the value, any other text as a text", () => {
    const { offsets, bytes } = columnNamed(
      oneField("JSON"),
      [
        { id: 1, vec, x: '{"a": 1}' },
        { id: 2, vec, x: "hello" },
      ],
      "x",
    ) as {
      offsets: Uint32Array;
      bytes: Uint8Array;
    };
    expect(Buffer.from(bytes).toString()).toBe('{"a": 1}"hello"');
    expect(Array.from(offsets)).toEqual([0, 8, 15]);
  });

  it("puts generated keys in place of those of the rows", () => {
    const keys: KeyColumn = keysOf("int64", [11, 12]);
    const batch = rowsToColumns(schemaOf([PK, VECTOR], true), [{ vec }, { id: 3, vec }], keys);
    expect(batch.columns[100]).toBe(keys);
  });
});

describe("round trip", () => {
  const schema = schemaOf([
    field("id", "VarChar", { isPrimary: true, maxLength: 65_535 }),
    VECTOR,
    field("b", "Bool", { nullable: true }),
    field("i8", "Int8", { nullable: true }),
    field("i16", "Int16", { nullable: true }),
    field("i32", "Int32", { nullable: true }),
    field("i64", "Int64", { nullable: true }),
    field("f32", "Float", { nullable: true }),
    field("f64", "Double", { nullable: true }),
    field("text", "VarChar", { maxLength: 65_535, nullable: true }),
    field("json", "JSON", { nullable: true }),
    field("list", "Array", { elementType: "VarChar", maxLength: 65_535, maxCapacity: 10, nullable: true }),
    field("numbers", "Array", { elementType: "Int64", maxCapacity: 10 }),
    META,
  ]);
  // -0 has no form of its own in shortest decimals, nor in JSON.
  const float = fc.float({ noNaN: true, noDefaultInfinity: true }).map((x) => x + 0);
  const int64 = fc
    .bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n })
    .map((x) => (Number.isSafeInteger(Number(x)) ? Number(x) : x));
  const text = fc.string({ unit: "grapheme", maxLength: 12 });
  const nullable = <T>(value: fc.Arbitrary<T>) => fc.option(value);
  const row = fc.record({
    id: text,
    vec: fc.tuple(float, float, float),
    b: nullable(fc.boolean()),
    i8: nullable(fc.integer({ min: -128, max: 127 })),
    i16: nullable(fc.integer({ min: -32_768, max: 32_767 })),
    i32: nullable(fc.integer()),
    i64: nullable(int64),
    f32: nullable(float),
    f64: nullable(fc.double({ noNaN: true, noDefaultInfinity: true })),
    text: nullable(fc.string({ unit: "grapheme", maxLength: 200 })),
    json: nullable(fc.dictionary(text, fc.jsonValue(), { maxKeys: 3 })),
    list: nullable(fc.array(text, { maxLength: 5 })),
    numbers: fc.array(int64, { maxLength: 5 }),
    extra: nullable(fc.jsonValue()),
  });

  it.each([
    ["a dynamic key", schemaOf([PK, VECTOR, META])],
    ["a field", schemaOf([PK, VECTOR, field("__proto__", "JSON")])],
  ])("gives back what %s of the name __proto__ holds, and leaves the row an object like any other", (_, named) => {
    const rows = ['{"a":1}', "7"].map(
      (value, id) => parseJson(`{"id":${id},"vec":[1,2,3],"__proto__":${value}}`) as Row,
    );
    const batch = rowsToColumns(named, rows);
    const keys = batch.columns[100] as KeyColumn;
    const found = columnsToRows(keys, batch, outputFieldsOf(named, ["__proto__"]));
    for (const row of found) expect(Object.getPrototypeOf(row)).toBe(Object.prototype);
    expect(found.map((row) => Object.keys(row))).toEqual([
      ["id", "__proto__"],
      ["id", "__proto__"],
    ]);
    const isJsonField = !named.enableDynamicField;
    expect(toJson(found)).toBe(
      isJsonField
        ? String.raw`[{"id":0,"__proto__":"{\"a\":1}"},{"id":1,"__proto__":"7"}]`
        : '[{"id":0,"__proto__":{"a":1}},{"id":1,"__proto__":7}]',
    );
  });

  it("gives back every value that was given", () => {
    fc.assert(
      fc.property(fc.array(row, { maxLength: 40 }), (rows) => {
        const batch = rowsToColumns(schema, rows);
        expect(Batch.safeParse(batch).success).toBe(true);
        const keys = batch.columns[100] as KeyColumn;
        const shown = columnsToRows(keys, batch, outputFieldsOf(schema, ["*"]));
        expect(shown.map(comparable)).toEqual(
          rows.map(({ vec: vector, json, ...others }) =>
            comparable({
              ...others,
              vec: Float32Array.from(vector),
              json: json === null ? null : JSON.stringify(json),
            }),
          ),
        );
      }),
    );
  });

  it("takes the shown rows again", () => {
    fc.assert(
      fc.property(fc.array(row, { minLength: 1, maxLength: 10 }), (rows) => {
        const batch = rowsToColumns(schema, rows);
        const shown = columnsToRows(batch.columns[100] as KeyColumn, batch, outputFieldsOf(schema, ["*"]));
        expect(rowsToColumns(schema, shown)).toEqual(batch);
      }),
    );
  });
});

/** Float values are shown as their shortest decimals, which are the same as float32. */
function comparable(row: Record<string, unknown>): Record<string, unknown> {
  const { f32, extra, ...others } = row;
  return {
    ...others,
    f32: typeof f32 === "number" ? Math.fround(f32) : f32,
    // An integer beyond 2^53 comes back as a bigint; as text the two are the same.
    extra: toJson(extra),
  };
}
