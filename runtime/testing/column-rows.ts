/**
 * Rows as plain values, and the way to columns and back, written without the code under test: the model that tests of
 * columns, segments and files compare with. Cells of Int64 are bigints, of a JSON field its text; null is no value.
 */
import fc from "fast-check";
import type { FileField } from "../segment/arrow-file.ts";
import type {
  ArrayColumn,
  BytesColumn,
  Column,
  ColumnBatch,
  PackedVectorColumn,
  ScalarColumn,
} from "../segment/column.ts";

export type Cell = null | boolean | number | bigint | string | Cell[];

/** By field id. A field that a row lacks is null in it. */
export type ModelRow = Record<number, Cell>;

export interface ModelField extends FileField {
  nullable: boolean;
}

function field(fieldId: number, type: FileField["type"], rest: Partial<ModelField> = {}): ModelField {
  return { fieldId, name: `f${fieldId}`, type, nullable: true, ...rest };
}

export const KEY_FIELD = field(100, "Int64", { name: "id", nullable: false });
export const VECTOR_FIELD = field(101, "FloatVector", { name: "vec", dimension: 3, nullable: false });

/** Scalars, arrays, and one vector. */
export const PLAIN_FIELDS: readonly ModelField[] = [
  KEY_FIELD,
  VECTOR_FIELD,
  field(102, "Bool"),
  field(103, "Int8"),
  field(104, "Int16"),
  field(105, "Int32"),
  field(106, "Int64"),
  field(107, "Float"),
  field(108, "Double"),
  field(109, "VarChar"),
  field(110, "JSON"),
  field(111, "Array", { elementType: "Int64" }),
  field(112, "Array", { elementType: "VarChar" }),
  field(113, "Array", { elementType: "Bool" }),
  field(114, "Array", { elementType: "Float" }),
];

/** One field of every kind that a column may have. Cells of packed and sparse vectors are their bytes. */
export const ALL_FIELDS: readonly ModelField[] = [
  ...PLAIN_FIELDS,
  field(120, "Float16Vector", { dimension: 3 }),
  field(121, "BFloat16Vector", { dimension: 5 }),
  field(122, "Int8Vector", { dimension: 3 }),
  field(123, "BinaryVector", { dimension: 24 }),
  field(124, "SparseFloatVector"),
  field(125, "Timestamptz"),
  field(126, "FloatVector", { dimension: 2 }),
];

/** Text of all planes, with what sorts or encodes oddly more often than chance would have it. */
export const textArbitrary: fc.Arbitrary<string> = fc.oneof(
  fc.string({ unit: "binary", maxLength: 10 }),
  fc
    .array(fc.constantFrom("", "a", "b", "é", "漢", "\ue000", "\uffff", "😀", "\u{10ffff}", "\0"), { maxLength: 4 })
    .map((parts) => parts.join("")),
);

function scalarArbitrary(type: string): fc.Arbitrary<Cell> {
  switch (type) {
    case "Bool":
      return fc.boolean();
    case "Int8":
      return fc.integer({ min: -128, max: 127 });
    case "Int16":
      return fc.integer({ min: -32_768, max: 32_767 });
    case "Int32":
      return fc.integer();
    case "Timestamptz":
    case "Int64":
      return fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n });
    case "Float":
      return fc.float();
    case "Double":
      return fc.double();
    case "JSON":
      return fc.json({ maxDepth: 1 });
    default:
      return textArbitrary;
  }
}

function valueArbitrary(of: ModelField): fc.Arbitrary<Cell> {
  const listOf = (item: fc.Arbitrary<Cell>, length: number) => fc.array(item, { minLength: length, maxLength: length });
  const byte = fc.integer({ min: 0, max: 255 });
  switch (of.type) {
    case "FloatVector":
      return listOf(fc.float(), of.dimension!);
    case "Float16Vector":
    case "BFloat16Vector":
      return listOf(byte, of.dimension! * 2);
    case "Int8Vector":
      return listOf(byte, of.dimension!);
    case "BinaryVector":
      return listOf(byte, of.dimension! / 8);
    case "SparseFloatVector":
      return fc.integer({ min: 0, max: 3 }).chain((pairs) => listOf(byte, pairs * 8));
    case "Array":
      return fc.array(scalarArbitrary(of.elementType!), { maxLength: 4 });
    default:
      return scalarArbitrary(of.type);
  }
}

function cellArbitrary(of: ModelField): fc.Arbitrary<Cell> {
  const value = valueArbitrary(of);
  return of.nullable ? fc.option(value as fc.Arbitrary<Cell>, { freq: 4 }) : (value as fc.Arbitrary<Cell>);
}

/** Rows of these fields; batches of them often have no null at all, as batches of a program mostly do. */
export function rowsArbitrary(
  fields: readonly ModelField[],
  limits: { minLength?: number; maxLength: number },
): fc.Arbitrary<ModelRow[]> {
  const rowOf = (nullable: boolean) =>
    fc.record(
      Object.fromEntries(
        fields.map((each) => [each.fieldId, cellArbitrary({ ...each, nullable: nullable && each.nullable })]),
      ),
    );
  return fc.oneof(fc.array(rowOf(true), limits), fc.array(rowOf(false), limits));
}

export function batchOf(fields: readonly FileField[], rows: readonly ModelRow[]): ColumnBatch {
  const columns = Object.fromEntries(
    fields.map((each) => [
      each.fieldId,
      columnOf(
        each,
        rows.map((row) => row[each.fieldId] ?? null),
      ),
    ]),
  );
  return { rowCount: rows.length, columns };
}

export function columnOf(of: FileField, cells: readonly Cell[]): Column {
  if (of.type === "FloatVector") {
    const dimension = of.dimension!;
    const values = cells.flatMap((cell) => (cell ?? Array<number>(dimension).fill(0)) as number[]);
    return { kind: "floatVector", dimension, values: Float32Array.from(values), ...validity(cells) };
  }
  const packed = PACKED_KINDS[of.type];
  if (packed !== undefined) {
    const column: PackedVectorColumn = { kind: packed, dimension: of.dimension!, values: new Uint8Array() };
    const width = packedWidth(column);
    const values = cells.flatMap((cell) => (cell ?? Array<number>(width).fill(0)) as number[]);
    return { ...column, values: Uint8Array.from(values), ...validity(cells) };
  }
  if (of.type === "SparseFloatVector") {
    const lists = cells.map((cell) => (cell ?? []) as number[]);
    const offsets = offsetsOf(lists.map(({ length }) => length));
    return { kind: "sparseVector", offsets, bytes: Uint8Array.from(lists.flat()), ...validity(cells) };
  }
  if (of.type !== "Array") return scalarColumn(of.type, cells);
  const lists = cells.map((cell) => (cell ?? []) as Cell[]);
  return {
    kind: "array",
    offsets: offsetsOf(lists.map(({ length }) => length)),
    items: scalarColumn(of.elementType!, lists.flat()),
    ...validity(cells),
  };
}

function scalarColumn(type: string, cells: readonly Cell[]): ScalarColumn {
  const numbers = cells.map((cell) => Number(cell ?? 0));
  const valid = validity(cells);
  switch (type) {
    case "Bool":
      return { kind: "bool", values: Uint8Array.from(numbers), ...valid };
    case "Int8":
      return { kind: "int8", values: Int8Array.from(numbers), ...valid };
    case "Int16":
      return { kind: "int16", values: Int16Array.from(numbers), ...valid };
    case "Int32":
      return { kind: "int32", values: Int32Array.from(numbers), ...valid };
    case "Timestamptz":
    case "Int64":
      return {
        kind: "int64",
        values: BigInt64Array.from(cells, (cell) => BigInt((cell ?? 0) as number | bigint)),
        ...valid,
      };
    case "Float":
      return { kind: "float", values: Float32Array.from(numbers), ...valid };
    case "Double":
      return { kind: "double", values: Float64Array.from(numbers), ...valid };
    default: {
      const texts = cells.map((cell) => Buffer.from((cell ?? "") as string));
      const bytes = new Uint8Array(Buffer.concat(texts));
      return {
        kind: type === "JSON" ? "json" : "varchar",
        offsets: offsetsOf(texts.map(({ length }) => length)),
        bytes,
        ...valid,
      };
    }
  }
}

function offsetsOf(lengths: readonly number[]): Uint32Array {
  const offsets = new Uint32Array(lengths.length + 1);
  lengths.forEach((length, i) => {
    offsets[i + 1] = offsets[i]! + length;
  });
  return offsets;
}

function validity(cells: readonly Cell[]): { valid?: Uint32Array } {
  if (!cells.includes(null)) return {};
  const valid = new Uint32Array(Math.ceil(cells.length / 32));
  cells.forEach((cell, row) => {
    if (cell !== null) valid[row >>> 5] = valid[row >>> 5]! | (1 << (row & 31));
  });
  return { valid };
}

/** The rows of a batch. Throws where a column does not keep to the contract of column.ts. */
export function rowsOf(batch: ColumnBatch, fields: readonly FileField[]): ModelRow[] {
  const rows: ModelRow[] = Array.from({ length: batch.rowCount }, () => ({}));
  for (const { fieldId } of fields) {
    const column = batch.columns[fieldId];
    const cells = column === undefined ? rows.map(() => null) : cellsOf(column, batch.rowCount);
    cells.forEach((cell, row) => {
      rows[row]![fieldId] = cell;
    });
  }
  return rows;
}

export function cellsOf(column: Column, rowCount: number): Cell[] {
  const stored = dataRows(column);
  if (stored !== rowCount) throw new Error(`${column.kind} column has data of ${stored} rows, not ${rowCount}`);
  const { valid } = column;
  if (valid !== undefined && valid.length !== Math.ceil(rowCount / 32))
    throw new Error(`valid has ${valid.length} words for ${rowCount} rows`);
  const items = column.kind === "array" ? cellsOf(column.items, dataRows(column.items)) : [];
  return Array.from({ length: rowCount }, (_, row) => {
    if (valid !== undefined && ((valid[row >>> 5]! >>> (row & 31)) & 1) === 0) return null;
    return column.kind === "array"
      ? items.slice(column.offsets[row]!, column.offsets[row + 1]!)
      : cellOf(column, row, rowCount);
  });
}

function cellOf(column: Exclude<Column, ArrayColumn>, row: number, rows: number): Cell {
  switch (column.kind) {
    case "floatVector":
      return [...column.values.subarray(row * column.dimension, (row + 1) * column.dimension)];
    case "float16Vector":
    case "bfloat16Vector":
    case "int8Vector":
    case "binaryVector": {
      const width = column.values.length / rows;
      return [...column.values.subarray(row * width, (row + 1) * width)];
    }
    case "sparseVector":
      return [...column.bytes.subarray(column.offsets[row]!, column.offsets[row + 1]!)];
    case "bool":
      return column.values[row] === 1;
    case "varchar":
    case "json":
      return Buffer.from(column.bytes.subarray(column.offsets[row]!, column.offsets[row + 1]!)).toString("utf8");
    default:
      return column.values[row]!;
  }
}

const PACKED_KINDS: Partial<Record<string, PackedVectorColumn["kind"]>> = {
  Float16Vector: "float16Vector",
  BFloat16Vector: "bfloat16Vector",
  Int8Vector: "int8Vector",
  BinaryVector: "binaryVector",
};

const VECTOR_BITS = { float16Vector: 16, bfloat16Vector: 16, int8Vector: 8, binaryVector: 1 };

function packedWidth({ kind, dimension }: PackedVectorColumn): number {
  return (VECTOR_BITS[kind] * dimension) / 8;
}

function dataRows(column: Column): number {
  if (column.kind === "floatVector") return column.values.length / column.dimension;
  if ("dimension" in column) return column.values.length / packedWidth(column);
  if (column.kind !== "array" && !("bytes" in column)) return column.values.length;
  const { offsets } = column as ArrayColumn | BytesColumn;
  const end = offsets.at(-1);
  const held = column.kind === "array" ? dataRows(column.items) : column.bytes.length;
  if (offsets[0] !== 0 || end !== held)
    throw new Error(`${column.kind} column has ${held} items, its offsets end at ${end}`);
  return offsets.length - 1;
}
