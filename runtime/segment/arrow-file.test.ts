import { RecordBatchFileWriter, tableFromArrays, tableFromIPC } from "apache-arrow";
import fc from "fast-check";
import { beforeAll, describe, expect, it } from "vitest";
import { isVdbError } from "../errors.ts";
import { systemClock } from "../system-clock.ts";
import {
  ALL_FIELDS,
  batchOf,
  KEY_FIELD,
  type ModelRow,
  PLAIN_FIELDS,
  rowsArbitrary,
  rowsOf,
  VECTOR_FIELD,
} from "../testing/column-rows.ts";
import { seededNumbers } from "../testing/vectors.ts";
import { type FileField, readSegmentFile, type StoredChunk, writeSegmentFile } from "./arrow-file.ts";
import { columnRows } from "./gather.ts";
import { CHUNK_ROWS, Segment } from "./segment.ts";

async function fileOf(
  fields: readonly FileField[],
  chunks: readonly StoredChunk[],
  vectorFields?: readonly number[],
): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  for await (const part of writeSegmentFile(fields, chunks, systemClock, vectorFields)) parts.push(part);
  return new Uint8Array(Buffer.concat(parts));
}

function chunkOf(rows: readonly ModelRow[], firstTs = 1n, fields: readonly FileField[] = ALL_FIELDS): StoredChunk {
  return { batch: batchOf(fields, rows), timestamps: BigInt64Array.from(rows, (_, i) => firstTs + BigInt(i)) };
}

describe("a segment file", () => {
  it("gives back rows of every type as they were written, chunk by chunk", async () => {
    const chunkLists = fc.array(rowsArbitrary(ALL_FIELDS, { minLength: 1, maxLength: 9 }), {
      minLength: 1,
      maxLength: 3,
    });
    await fc.assert(
      fc.asyncProperty(chunkLists, async (lists) => {
        const chunks = lists.map((rows, i) => chunkOf(rows, BigInt(i * 100)));
        const read = readSegmentFile(await fileOf(ALL_FIELDS, chunks));
        expect(read.map(({ batch }) => rowsOf(batch, ALL_FIELDS))).toEqual(lists);
        expect(read.map(({ timestamps }) => [...timestamps])).toEqual(chunks.map(({ timestamps }) => [...timestamps]));
        for (const { batch } of read) {
          for (const { fieldId } of ALL_FIELDS) expect(columnRows(batch.columns[fieldId]!)).toBe(batch.rowCount);
        }
      }),
      { numRuns: 60 },
    );
  });

  it("says a newer format only for vectors that may be null", async () => {
    const formatOf = async (...fields: FileField[]) =>
      tableFromIPC(await fileOf(fields, [])).schema.metadata.get("vdb.format");
    expect(await formatOf({ ...KEY_FIELD, nullable: true }, { ...VECTOR_FIELD, nullable: false })).toBe("1");
    expect(await formatOf(KEY_FIELD, { ...VECTOR_FIELD, nullable: true })).toBe("2");
    const none = await fileOf([KEY_FIELD, { ...VECTOR_FIELD, nullable: true }], [], []);
    expect(tableFromIPC(none).schema.fields.map(({ name }) => name)).toEqual([KEY_FIELD.name, "$ts"]);
    expect(() => readSegmentFile(none)).not.toThrow();
    expect(tableFromIPC(none).schema.metadata.get("vdb.format")).toBe("2");
  });

  it("reads the same from bytes that lie anywhere in memory", async () => {
    const rows = [{ 100: 5n, 101: [1, 2, 3], 108: 0.5, 109: "é" }];
    const file = await fileOf(ALL_FIELDS, [chunkOf(rows)]);
    const moved = new Uint8Array(file.length + 3).subarray(3);
    moved.set(file);
    const [chunk] = readSegmentFile(moved);
    expect(rowsOf(chunk!.batch, [KEY_FIELD])).toEqual([{ 100: 5n }]);
    expect([...chunk!.timestamps]).toEqual([1n]);
  });

  it("keeps the kinds of columns", async () => {
    const [chunk] = readSegmentFile(await fileOf(ALL_FIELDS, [chunkOf([{ 101: [1, 2, 3] }])]));
    const kinds = ALL_FIELDS.map(({ fieldId }) => chunk!.batch.columns[fieldId]!.kind);
    expect(kinds).toEqual(ALL_FIELDS.map(({ fieldId }) => chunkOf([{ 101: [1, 2, 3] }]).batch.columns[fieldId]!.kind));
  });

  it("gives nulls for a column that a chunk does not have", async () => {
    const early = [KEY_FIELD, VECTOR_FIELD];
    const rows: ModelRow[] = [
      { 100: 1n, 101: [1, 2, 3] },
      { 100: 2n, 101: [4, 5, 6] },
    ];
    const late: ModelRow[] = [
      Object.fromEntries(PLAIN_FIELDS.map(({ fieldId }) => [fieldId, fieldId === 101 ? [7, 8, 9] : null])),
    ];
    late[0]![100] = 3n;
    const read = readSegmentFile(await fileOf(PLAIN_FIELDS, [chunkOf(rows, 1n, early), chunkOf(late, 3n)]));
    const nulls = Object.fromEntries(PLAIN_FIELDS.map(({ fieldId }) => [fieldId, null]));
    expect(read.flatMap(({ batch }) => rowsOf(batch, PLAIN_FIELDS))).toEqual([
      ...rows.map((row) => ({ ...nulls, ...row })),
      ...late,
    ]);
  });

  it("of no chunks has none", async () => {
    expect(readSegmentFile(await fileOf(ALL_FIELDS, []))).toEqual([]);
  });

  it("holds whole chunks of a grown segment, and a segment loaded from it is the same", async () => {
    const next = seededNumbers(3);
    const fields = ALL_FIELDS.filter(({ fieldId }) => [100, 101, 102, 109, 111].includes(fieldId));
    const rows = Array.from(
      { length: CHUNK_ROWS + 777 },
      (_, i): ModelRow => ({
        100: BigInt(i),
        101: [next(), next(), next()].map(Math.fround),
        102: next() < 0.1 ? null : next() < 0.5,
        109: next() < 0.1 ? null : "ü".repeat(Math.floor(next() * 5)),
        111: next() < 0.1 ? null : [BigInt(i), -1n].slice(Math.floor(next() * 3)),
      }),
    );
    const options = { segmentId: "S".repeat(26), partitionId: 1, keyFieldId: 100, keyKind: "int64" as const };
    const grown = new Segment(options);
    for (let start = 0; start < rows.length; start += 500)
      grown.append(batchOf(fields, rows.slice(start, start + 500)), BigInt(start));
    const loaded = new Segment(options);
    for (const { batch, timestamps } of readSegmentFile(await fileOf(fields, grown.chunks)))
      loaded.appendChunk(batch, timestamps);
    expect(loaded.chunks.map(({ firstRow }) => firstRow)).toEqual([0, CHUNK_ROWS]);
    expect(loaded.chunks.flatMap(({ batch }) => rowsOf(batch, fields))).toEqual(rows);
    expect(rows.map((_, row) => loaded.timestampOf(row))).toEqual(rows.map((_, row) => grown.timestampOf(row)));
  });

  it("opens as a table of named columns in plain Arrow", async () => {
    const row: ModelRow = {
      100: 7n,
      101: [1, 2, 3],
      102: true,
      103: -1,
      104: 300,
      105: 70_000,
      106: 2n ** 60n,
      107: 0.5,
      108: 0.1,
      109: "漢😀",
      110: '{"a":[1]}',
      111: [1n, 2n],
      112: ["x", ""],
      113: [true, false, true],
      114: [0.25],
    };
    const nulls = Object.fromEntries(
      PLAIN_FIELDS.map(({ fieldId, nullable }) => [fieldId, nullable ? null : row[fieldId]!]),
    );
    const table = tableFromIPC(await fileOf(PLAIN_FIELDS, [chunkOf([row, nulls, row], 50n, PLAIN_FIELDS)]));
    expect(table.schema.fields.map(({ name }) => name)).toEqual([...PLAIN_FIELDS.map(({ name }) => name), "$ts"]);
    expect(table.schema.fields.map(({ type }) => String(type))).toEqual([
      "Int64",
      "FixedSizeList[3]<Float32>",
      "Bool",
      "Int8",
      "Int16",
      "Int32",
      "Int64",
      "Float32",
      "Float64",
      "Utf8",
      "Utf8",
      "List<Int64>",
      "List<Utf8>",
      "List<Bool>",
      "List<Float32>",
      "Int64",
    ]);
    const cells = (index: number) =>
      Object.fromEntries(PLAIN_FIELDS.map(({ fieldId, name }) => [fieldId, plain(table.get(index)![name])]));
    expect([cells(0), cells(1), cells(2)]).toEqual([row, nulls, row]);
    expect([0, 1, 2].map((index) => table.get(index)!.$ts as bigint)).toEqual([50n, 51n, 52n]);
    const names = table.schema.fields.find(({ name }) => name === "f109")!;
    expect(Object.fromEntries(names.metadata)).toEqual({ fieldId: "109", type: "VarChar" });
  });

  it("has vectors of all types and times as Arrow's own types, where it has such", async () => {
    const fields = ALL_FIELDS.filter((field) => !PLAIN_FIELDS.includes(field));
    const row: ModelRow = {
      120: [0, 0x3c, 0, 0xc0, 0, 0],
      121: [0x80, 0x3f, 0, 0, 0, 0, 0, 0, 0, 0],
      122: [1, 255, 128],
      123: [1, 2, 3],
      124: [7, 0, 0, 0, 0, 0, 128, 63],
      125: 1_700_000_000_000_001n,
    };
    const table = tableFromIPC(await fileOf(fields, [chunkOf([row], 50n, fields)]));
    expect(table.schema.fields.map(({ type }) => String(type))).toEqual([
      "FixedSizeList[3]<Float16>",
      "FixedSizeBinary[10]",
      "FixedSizeList[3]<Int8>",
      "FixedSizeBinary[3]",
      "Binary",
      "Timestamp<MICROSECOND, UTC>",
      "FixedSizeList[2]<Float32>",
      "Int64",
    ]);
    const first = table.get(0)!;
    expect(plain(first.f120)).toEqual([1, -2, 0]);
    expect(plain(first.f122)).toEqual([1, -1, -128]);
    expect(plain(first.f124)).toEqual(row[124]);
    expect(first.f125).toBe(1_700_000_000_000.001);
  });
});

/** Arrow's vectors as lists. */
function plain(value: unknown): unknown {
  const isList = typeof value === "object" && value !== null && Symbol.iterator in value;
  return isList ? [...(value as Iterable<unknown>)] : value;
}

describe("damaged bytes", () => {
  let file: Uint8Array;

  beforeAll(async () => {
    const rows = [
      { 100: 7n, 101: [1, 2, 3], 109: "text", 111: [1n, 2n], 112: ["x"], 105: 4 },
      { 100: 8n, 101: [4, 5, 6] },
    ];
    file = await fileOf(ALL_FIELDS, [chunkOf(rows), chunkOf(rows, 9n)]);
  });

  /** Reads bytes; whatever is wrong with them must come as `corrupt`. */
  function outcome(bytes: Uint8Array): "read" | "corrupt" {
    try {
      for (const { batch, timestamps } of readSegmentFile(bytes)) {
        expect(timestamps.length).toBe(batch.rowCount);
        for (const column of Object.values(batch.columns)) expect(columnRows(column)).toBe(batch.rowCount);
      }
      return "read";
    } catch (error) {
      if (!isVdbError(error, "corrupt")) throw error;
      return "corrupt";
    }
  }

  it("of a file cut short are corrupt, wherever it was cut", () => {
    for (let length = 0; length < file.length; length += 7) {
      expect([length, outcome(file.slice(0, length))]).toEqual([length, "corrupt"]);
    }
  });

  it("of something else are corrupt", () => {
    expect(outcome(Buffer.from("not a segment"))).toBe("corrupt");
    expect(outcome(new Uint8Array(4096))).toBe("corrupt");
    expect(outcome(Buffer.from(`ARROW1${"x".repeat(100)}ARROW1`))).toBe("corrupt");
  });

  // Only where they cannot pass for a file's metadata: Arrow trusts that, and objects are checked by digest before.
  it("of a file whose rows were overwritten are read as columns of one length, or corrupt", () => {
    const rowsAt = Buffer.from(file).indexOf("text");
    for (let at = rowsAt - 64; at < rowsAt + 64; at++) {
      const damaged = file.slice();
      damaged[at] = 0xff;
      outcome(damaged);
    }
    const unlike = file.slice();
    unlike.set(Buffer.from("arrow1"), 0);
    expect(outcome(unlike)).toBe("corrupt");
  });

  it("of a file that has no timestamps are corrupt", async () => {
    const writer = new RecordBatchFileWriter();
    writer.writeAll(tableFromArrays({ a: Int32Array.of(1) }).batches);
    expect(outcome(await writer.toUint8Array())).toBe("corrupt");
  });
});
