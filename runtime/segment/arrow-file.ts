/**
 * Segments as Apache Arrow IPC files: any Arrow tool reads them. One record batch a chunk, one column a field under
 * its name (metadata `fieldId` and `type` say which field it was when written), and `$ts`, the row's timestamp.
 * Vectors are lists of a fixed size; those of numbers that Arrow does not have (bfloat16, single bits) are bytes of a fixed
 * size, sparse ones bytes: pairs of uint32 and float32.
 *
 * Written batch by batch, so that a large segment is never in memory twice and never holds the event loop; read as views of the
 * file's bytes, without a copy.
 */
import type { Clock } from "../clock.ts";
import { VdbError } from "../errors.ts";
import { bytesOfVector, type FieldSchema, isVectorType } from "../schema.ts";
import {
  AsyncByteQueue,
  Binary,
  Bool,
  type Data,
  type DataType,
  Field,
  FixedSizeBinary,
  FixedSizeList,
  Float,
  Float16,
  Float32,
  Float64,
  Int8,
  Int16,
  Int32,
  Int64,
  List,
  makeData,
  RecordBatch,
  type RecordBatchFileReader,
  RecordBatchFileWriter,
  RecordBatchReader,
  Schema,
  Struct,
  TimestampMicrosecond,
  Utf8,
} from "./arrow.ts";
import { type Bitset, countBits, fullBitset, hasBit } from "./bitset.ts";
import type { Column, ColumnBatch, DenseVectorColumn, ScalarColumn } from "./column.ts";
import { columnRows } from "./gather.ts";

const TIMESTAMP_COLUMN = "$ts";

/**
 * The newest version of our conventions within Arrow's format. The schema's metadata has the oldest that the fields allow, so
 * that older nodes can read what they know; it is absent in the first files, which are of version 1.
 *
 *   2  dense vectors may be null: zeros stand in their place, and where all are null there is no column
 */
const FORMAT = 2;
const FORMAT_KEY = "vdb.format";

const MAGIC = Buffer.from("ARROW1");

/** What identifies a column in a file. */
export type FileField = Pick<FieldSchema, "fieldId" | "name" | "type" | "elementType" | "dimension"> &
  Partial<Pick<FieldSchema, "nullable">>;

/**
 * The file's bytes, part by part: a chunk is requested when the one before has been taken.
 * @param vectorFields those in which a row may have a vector: no other vector field is stored; undefined: all are
 */
export async function* writeSegmentFile(
  fields: readonly FileField[],
  chunks: Iterable<StoredChunk> | AsyncIterable<StoredChunk>,
  clock: Clock,
  vectorFields?: readonly number[],
): AsyncGenerator<Uint8Array> {
  const writer = segmentFileWriter(fields, vectorFields);
  for await (const chunk of chunks) {
    yield* writer.write(chunk);
    await clock.yield();
  }
  yield* writer.finish();
}

/** The next bytes of the file, after each chunk and at the end. */
export interface SegmentFileWriter {
  write(chunk: StoredChunk): Uint8Array[];
  finish(): Uint8Array[];
}

/** @param vectorFields as in writeSegmentFile */
export function segmentFileWriter(fields: readonly FileField[], vectorFields?: readonly number[]): SegmentFileWriter {
  const stored = fields.filter(
    ({ fieldId, type }) => vectorFields === undefined || !isVectorType(type) || vectorFields.includes(fieldId),
  );
  const schema = new Schema(
    [
      ...stored.map((field) => new Field(field.name, arrowType(field), true, fieldMetadata(field))),
      new Field(TIMESTAMP_COLUMN, new Int64(), false),
    ],
    new Map([[FORMAT_KEY, String(formatOf(fields))]]),
  );
  const writer = new RecordBatchFileWriter();
  const sink = new ByteList();
  writer.reset(sink as unknown as AsyncByteQueue, schema);
  return {
    write({ batch, timestamps }) {
      const children = [
        ...stored.map((field) => arrowData(field, batch.columns[field.fieldId], batch.rowCount)),
        makeData({ type: new Int64(), data: timestamps }),
      ];
      const struct = makeData({ type: new Struct(schema.fields), length: batch.rowCount, nullCount: 0, children });
      writer.write(new RecordBatch(schema, struct));
      return sink.take();
    },
    finish() {
      writer.finish();
      return sink.take();
    },
  };
}

function formatOf(fields: readonly FileField[]): number {
  return fields.some(({ dimension, nullable }) => dimension !== undefined && nullable) ? 2 : 1;
}

export interface StoredChunk {
  readonly batch: ColumnBatch;
  readonly timestamps: BigInt64Array;
}

/** Where the writer puts its bytes: they can be taken at any time, while Arrow's own queue can only be read to its end. */
class ByteList extends AsyncByteQueue {
  #parts: Uint8Array[] = [];

  override write(part: ArrayBufferView): void {
    this.#parts.push(new Uint8Array(part.buffer, part.byteOffset, part.byteLength));
  }

  take(): Uint8Array[] {
    const parts = this.#parts;
    this.#parts = [];
    return parts;
  }
}

/** The chunks of a file, as views of its bytes. @throws VdbError corrupt, newer_version */
export function readSegmentFile(bytes: Uint8Array): StoredChunk[] {
  return [...readSegmentChunks(bytes)];
}

/** One after the other: a chunk is not looked at before it is requested. @throws as readSegmentFile */
export function* readSegmentChunks(bytes: Uint8Array): Generator<StoredChunk, void, undefined> {
  try {
    requireWholeFile(bytes);
    // Batch by batch, because the reader's own loop over all of them does not end on some damaged files.
    const reader = RecordBatchReader.from(bytes).open() as RecordBatchFileReader;
    requireKnownFormat(reader.schema);
    for (let i = 0; i < reader.numRecordBatches; i++) yield readChunk(reader.readRecordBatch(i));
  } catch (error) {
    if (error instanceof VdbError) throw error;
    throw corrupt(`is not a readable Arrow IPC file: ${(error as Error).message}`, error);
  }
}

/** @throws VdbError newer_version */
export function requireKnownFormat({ metadata }: Schema): void {
  const format = metadata.get(FORMAT_KEY) ?? "1";
  if (Number(format) <= FORMAT) return;
  throw new VdbError("newer_version", `segment file is in format ${format}, this program reads ${FORMAT}`);
}

/** The magic bytes at both ends: without the first, the reader would take the bytes for Arrow's other format. */
function requireWholeFile(bytes: Uint8Array): void {
  const isMagic = (at: number) => MAGIC.every((byte, i) => bytes[at + i] === byte);
  if (!isMagic(0) || !isMagic(bytes.length - MAGIC.length))
    throw corrupt("does not begin and end as an Arrow IPC file");
}

function readChunk(batch: RecordBatch | null): StoredChunk {
  if (batch === null) throw corrupt("lacks a record batch that its footer names");
  const columns: Record<number, Column> = {};
  let timestamps: BigInt64Array | undefined;
  batch.schema.fields.forEach((field, index) => {
    const data = batch.data.children[index]!;
    if (data.length !== batch.numRows)
      throw corrupt(`column ${field.name} has ${data.length} rows of ${batch.numRows}`);
    if (field.name === TIMESTAMP_COLUMN) timestamps = firstOf(data.values as BigInt64Array, data.length);
    else columns[Number(field.metadata.get("fieldId"))] = readColumn(data, field.metadata.get("type") ?? "");
  });
  if (!(timestamps instanceof BigInt64Array)) throw corrupt(`has no ${TIMESTAMP_COLUMN} column`);
  return { batch: { rowCount: batch.numRows, columns }, timestamps };
}

function corrupt(why: string, cause?: unknown): VdbError {
  return new VdbError("corrupt", `segment file ${why}`, cause === undefined ? {} : { cause });
}

/** Buffers in a file are padded to 8 bytes: returns only the actual items. */
function firstOf<T extends { length: number; subarray(start: number, end: number): T }>(values: T, count: number): T {
  if (values.length < count) throw corrupt(`has a column of ${values.length} items where ${count} belong`);
  return values.subarray(0, count);
}

function fieldMetadata(field: FileField): Map<string, string> {
  return new Map([
    ["fieldId", String(field.fieldId)],
    ["type", field.type],
  ]);
}

function arrowType(field: FileField): DataType {
  const { type, dimension } = field;
  switch (type) {
    case "FloatVector":
      return listOf(dimension!, new Float32());
    case "Float16Vector":
      return listOf(dimension!, new Float16());
    case "Int8Vector":
      return listOf(dimension!, new Int8());
    case "BFloat16Vector":
    case "BinaryVector":
      return new FixedSizeBinary(bytesOfVector(type, dimension!));
    case "SparseFloatVector":
      return new Binary();
    case "Array":
      return new List(new Field("item", scalarType(field.elementType!), false));
    default:
      return scalarType(type);
  }
}

function listOf(size: number, item: DataType): FixedSizeList {
  return new FixedSizeList(size, new Field("item", item, false));
}

function scalarType(type: string): DataType {
  switch (type) {
    case "Bool":
      return new Bool();
    case "Int8":
      return new Int8();
    case "Int16":
      return new Int16();
    case "Int32":
      return new Int32();
    case "Int64":
      return new Int64();
    case "Float":
      return new Float32();
    case "Double":
      return new Float64();
    case "Timestamptz":
      return new TimestampMicrosecond("UTC");
    default:
      return new Utf8();
  }
}

function arrowData(field: FileField, column: Column | undefined, rowCount: number): Data {
  const type = arrowType(field);
  if (column === undefined) return nullData(type, rowCount);
  const { valid } = column;
  const nulls =
    valid === undefined
      ? { nullCount: 0 }
      : {
          nullCount: rowCount - countBits(valid),
          nullBitmap: new Uint8Array(valid.buffer, valid.byteOffset, valid.byteLength),
        };
  return columnData(type, column, rowCount, nulls);
}

interface Nulls {
  nullCount: number;
  nullBitmap?: Uint8Array;
}

function columnData(type: DataType, column: Column, length: number, nulls: Nulls): Data {
  if ("dimension" in column) return vectorData(type, column, length, nulls);
  if (column.kind === "array") {
    const itemType = (type as List).children[0]!.type as DataType;
    const child = columnData(itemType, column.items, columnRows(column.items), { nullCount: 0 });
    return makeData({ type: type as List, length, ...nulls, valueOffsets: signed(column.offsets), child });
  }
  if ("bytes" in column) {
    return makeData({ type: type as Utf8, length, ...nulls, valueOffsets: signed(column.offsets), data: column.bytes });
  }
  if (column.kind === "bool") return makeData({ type: type as Bool, length, ...nulls, data: packBools(column.values) });
  return makeData({ type: type as Int32, length, ...nulls, data: column.values as Int32Array });
}

function vectorData(type: DataType, column: DenseVectorColumn, length: number, nulls: Nulls): Data {
  if (!(type instanceof FixedSizeList)) {
    return makeData({ type: type as FixedSizeBinary, length, ...nulls, data: column.values as Uint8Array });
  }
  const item = type.children[0]!.type as Float32;
  const child = makeData({ type: item, data: itemsOf(column) as Float32Array });
  return makeData({ type, length, ...nulls, child });
}

/** The numbers as an array of their width; a view of received bytes may not be aligned for it. */
function itemsOf({ kind, values }: DenseVectorColumn): Float32Array | Int8Array | Uint16Array {
  if (kind === "floatVector") return values;
  if (kind === "int8Vector") return new Int8Array(values.buffer, values.byteOffset, values.length);
  const { buffer, byteOffset } = values.byteOffset % 2 === 0 ? values : values.slice();
  return new Uint16Array(buffer, byteOffset, values.length / 2);
}

/** A column that the rows do not have: all null. */
function nullData(type: DataType, length: number): Data {
  const nullBitmap = new Uint8Array((length + 7) >>> 3);
  const nulls = { length, nullCount: length, nullBitmap };
  if (type instanceof Utf8 || type instanceof Binary)
    return makeData({
      type: type as Utf8,
      ...nulls,
      valueOffsets: new Int32Array(length + 1),
      data: new Uint8Array(0),
    });
  if (type instanceof List) {
    const child = nullData(type.children[0]!.type as DataType, 0);
    return makeData({ type, ...nulls, valueOffsets: new Int32Array(length + 1), child });
  }
  // Zeros take the place of missing vectors, as in a column with some nulls.
  if (type instanceof FixedSizeBinary)
    return makeData({ type, ...nulls, data: new Uint8Array(length * type.byteWidth) });
  if (type instanceof FixedSizeList) {
    const item = type.children[0]!.type as DataType;
    const data = new (item.ArrayType as Float32ArrayConstructor)(length * type.listSize);
    return makeData({ type, ...nulls, child: makeData({ type: item as Float32, data }) });
  }
  return makeData({ type: type as Int32, ...nulls, data: new Int32Array(length * 2) });
}

function readColumn(data: Data, fieldType: string): Column {
  const column = readData(data, fieldType);
  if (data.nullCount === 0) return column;
  return { ...column, valid: readValidity(data) } as Column;
}

function readData(data: Data, fieldType: string): Column {
  const { type, length } = data;
  if (type instanceof FixedSizeList) return readVectors(data.children[0]!, type.listSize, length);
  if (type instanceof FixedSizeBinary) {
    const values = firstOf(data.values as Uint8Array, length * type.byteWidth);
    if (fieldType === "BinaryVector") return { kind: "binaryVector", dimension: type.byteWidth * 8, values };
    if (fieldType === "BFloat16Vector") return { kind: "bfloat16Vector", dimension: type.byteWidth / 2, values };
    throw corrupt(`has a column of unexpected type ${String(type)}`);
  }
  if (type instanceof Binary) {
    const offsets = readOffsets(data);
    return { kind: "sparseVector", offsets, bytes: firstOf(data.values as Uint8Array, offsets[length]!) };
  }
  if (type instanceof List) {
    const offsets = readOffsets(data);
    const [child] = data.children;
    if (child!.length !== offsets[length]) throw corrupt(`has ${child!.length} array items, not ${offsets[length]}`);
    return { kind: "array", offsets, items: readData(child!, "") as ScalarColumn };
  }
  if (type instanceof Utf8) {
    const offsets = readOffsets(data);
    const kind = fieldType === "JSON" ? "json" : "varchar";
    return { kind, offsets, bytes: firstOf(data.values as Uint8Array, offsets[length]!) };
  }
  if (type instanceof Bool) return { kind: "bool", values: unpackBools(data.values as Uint8Array, length) };
  // Arrow reads every integer as one class with a width: the array that it chose shows the type most directly.
  const kind = VALUE_KINDS[(data.values as object).constructor.name];
  if (kind === undefined) throw corrupt(`has a column of unexpected type ${String(type)}`);
  return { kind, values: firstOf(data.values as Int32Array, length) } as Column;
}

function readVectors({ type, values }: Data, dimension: number, rows: number): DenseVectorColumn {
  const items = firstOf(values as Float32Array | Int8Array | Uint16Array, rows * dimension);
  if (items instanceof Float32Array) return { kind: "floatVector", dimension, values: items };
  const bytes = new Uint8Array(items.buffer, items.byteOffset, items.byteLength);
  if (items instanceof Int8Array) return { kind: "int8Vector", dimension, values: bytes };
  if (items instanceof Uint16Array && type instanceof Float) return { kind: "float16Vector", dimension, values: bytes };
  throw corrupt(`has vectors of unexpected type ${String(type)}`);
}

/** Arrow's offsets are signed; ours never reach 2^31 in a chunk, so the bits are the same. */
function readOffsets(data: Data): Uint32Array {
  const offsets = firstOf(data.valueOffsets as Int32Array, data.length + 1);
  return new Uint32Array(offsets.buffer, offsets.byteOffset, offsets.length);
}

const VALUE_KINDS: Record<string, Column["kind"]> = {
  Int8Array: "int8",
  Int16Array: "int16",
  Int32Array: "int32",
  BigInt64Array: "int64",
  Float32Array: "float",
  Float64Array: "double",
};

function readValidity(data: Data): Bitset {
  const bits = fullBitset(data.length);
  const bytes = new Uint8Array(bits.buffer);
  const bitmap = data.nullBitmap as Uint8Array;
  for (let i = 0; i < Math.min(bytes.length, bitmap.length); i++) bytes[i] = bytes[i]! & bitmap[i]!;
  return bits;
}

function signed(offsets: Uint32Array): Int32Array {
  return new Int32Array(offsets.buffer, offsets.byteOffset, offsets.length);
}

function packBools(values: Uint8Array): Uint8Array {
  const packed = new Uint8Array((values.length + 7) >>> 3);
  for (let i = 0; i < values.length; i++) if (values[i] === 1) packed[i >>> 3] = packed[i >>> 3]! | (1 << (i & 7));
  return packed;
}

function unpackBools(packed: Uint8Array, length: number): Uint8Array {
  const bits = new Uint32Array((length + 31) >>> 5);
  new Uint8Array(bits.buffer).set(packed.subarray(0, (length + 7) >>> 3));
  const values = new Uint8Array(length);
  for (let i = 0; i < length; i++) values[i] = hasBit(bits, i) ? 1 : 0;
  return values;
}
