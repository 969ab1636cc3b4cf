import { expect, test } from "vitest";
import type { FieldSchema } from "../schema.ts";
import { setBit } from "./bitset.ts";
import type { BytesColumn, ColumnBatch, Int64Column, NumberColumn } from "./column.ts";
import { defaultsOf, withDefaults } from "./default-columns.ts";
import { keysOf, varcharColumn } from "./keys.ts";
import { Segment } from "./segment.ts";

const KEY = 100;

function field(fieldId: number, type: FieldSchema["type"], defaultValue?: FieldSchema["defaultValue"]): FieldSchema {
  const spec = { fieldId, name: `f${fieldId}`, type, description: "", nullable: true, isDynamic: false };
  return { ...spec, isPrimary: fieldId === KEY, ...(defaultValue === undefined ? {} : { defaultValue }) };
}

const OLD = { fields: [field(KEY, "Int64")] };
const NEW = {
  fields: [field(KEY, "Int64"), field(101, "Int32", 7), field(102, "VarChar", "none"), field(103, "Double")],
};

function batch(keys: number[], more: ColumnBatch["columns"] = {}): ColumnBatch {
  return { rowCount: keys.length, columns: { [KEY]: keysOf("int64", keys), ...more } };
}

function texts({ offsets, bytes }: BytesColumn): string[] {
  return Array.from({ length: offsets.length - 1 }, (_, i) =>
    new TextDecoder().decode(bytes.subarray(offsets[i], offsets[i + 1])),
  );
}

function valuesOf(segment: Segment): { numbers: number[]; names: string[] } {
  return {
    numbers: segment.chunks.flatMap(({ batch: { columns } }) => [...(columns[101] as NumberColumn).values]),
    names: segment.chunks.flatMap(({ batch: { columns } }) => texts(columns[102] as BytesColumn)),
  };
}

test("a column that is missing is the default everywhere, and nothing else changes", () => {
  const before = batch([1, 2]);
  const after = withDefaults(before, defaultsOf(NEW));
  expect([...(after.columns[101] as NumberColumn).values]).toEqual([7, 7]);
  expect(texts(after.columns[102] as BytesColumn)).toEqual(["none", "none"]);
  expect(after.columns[103]).toBeUndefined();
  expect(after.columns[KEY]).toBe(before.columns[KEY]);
  expect(withDefaults(before, defaultsOf(OLD))).toBe(before);
});

test("nulls of a column are rows from before: they are the default, values stay", () => {
  const valid = new Uint32Array(1);
  setBit(valid, 1);
  const column: NumberColumn = { kind: "int32", values: Int32Array.of(0, 3, 0), valid };
  const { columns } = withDefaults(batch([1, 2, 3], { 101: column }), defaultsOf(NEW));
  expect(columns[101]).toEqual({ kind: "int32", values: Int32Array.of(7, 3, 7) });
});

test("a growing segment that gets rows of both schemas", () => {
  const segment = new Segment({ segmentId: "s", partitionId: 1, keyFieldId: KEY, keyKind: "int64" });
  segment.append(batch([1]), 1n);
  const earlier = segment.chunks[0]!;
  segment.complete(defaultsOf(NEW));
  expect(valuesOf(segment)).toEqual({ numbers: [7], names: ["none"] });
  segment.append(batch([2], { 101: { kind: "int32", values: Int32Array.of(1) }, 102: varcharColumn(["x"]) }), 2n);
  segment.append(batch([3]), 3n);
  expect(valuesOf(segment)).toEqual({ numbers: [7, 1, 7], names: ["none", "x", "none"] });
  expect((segment.chunks[0]!.batch.columns[KEY] as Int64Column).values).toEqual(BigInt64Array.of(1n, 2n, 3n));
  expect(earlier.batch.columns[101]).toBeUndefined();
});

test("a sealed segment, loaded before and after the field was added", () => {
  for (const isLate of [true, false]) {
    const segment = new Segment({ segmentId: "s", partitionId: 1, keyFieldId: KEY, keyKind: "int64" });
    if (!isLate) segment.complete(defaultsOf(NEW));
    segment.appendChunk(batch([1, 2]), BigInt64Array.of(1n, 2n));
    if (isLate) segment.complete(defaultsOf(NEW));
    expect(valuesOf(segment)).toEqual({ numbers: [7, 7], names: ["none", "none"] });
  }
});
