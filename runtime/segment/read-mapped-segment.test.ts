import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { VdbError } from "../errors.ts";
import type { FieldSchema } from "../schema.ts";
import { systemClock } from "../system-clock.ts";
import { ALL_FIELDS, batchOf, KEY_FIELD, type ModelRow, rowsOf } from "../testing/column-rows.ts";
import { writeSegmentFile } from "./arrow-file.ts";
import type { DenseVectorColumn } from "./column.ts";
import { copiedVectors, mappedVectors, readMappedSegment } from "./read-mapped-segment.ts";
import { readSegment } from "./read-segment.ts";
import { CHUNK_ROWS, type Segment } from "./segment.ts";

const VECTOR_FIELDS = ALL_FIELDS.filter(({ type }) => type.endsWith("Vector") && type !== "SparseFloatVector").map(
  ({ fieldId }) => fieldId,
);
const ROWS = CHUNK_ROWS + 3;
const DOC = { segmentId: "s", partitionId: 1, rowCount: ROWS };
const KEY = KEY_FIELD as FieldSchema;

let folder: string;
let path: string;
let bytes: Uint8Array<ArrayBuffer>;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "vdb-mapped-segment-"));
  path = join(folder, "segment");
  const rows: ModelRow[] = Array.from({ length: ROWS }, (_, i) => ({
    100: BigInt(i),
    101: [i, i + 1, i + 2],
    109: `é${i}`,
  }));
  const chunks = [rows.slice(0, CHUNK_ROWS), rows.slice(CHUNK_ROWS)].map((part, i) => ({
    batch: batchOf(ALL_FIELDS, part),
    timestamps: BigInt64Array.from(part, (_, at) => BigInt(i * CHUNK_ROWS + at + 1)),
  }));
  const parts: Uint8Array[] = [];
  for await (const part of writeSegmentFile(ALL_FIELDS, chunks, systemClock)) parts.push(part);
  bytes = new Uint8Array(Buffer.concat(parts));
  await writeFile(path, bytes);
});
afterAll(() => rm(folder, { recursive: true, force: true }));

/** Only read, as a mapped file is. */
const read = () => readMappedSegment(DOC, KEY, VECTOR_FIELDS, { path, mapped: bytes.buffer }, systemClock);
const chunksOf = (segment: Segment) =>
  segment.chunks.map(({ batch, timestamps }) => ({ rows: rowsOf(batch, ALL_FIELDS), timestamps }));
const vectorsOf = (segment: Segment) =>
  segment.chunks.flatMap(({ batch }) => VECTOR_FIELDS.map((id) => (batch.columns[id] as DenseVectorColumn).values));

test("the rows are those of a segment that was read whole, of every type", async () => {
  const whole = await readSegment(DOC, KEY, await readFile(path), systemClock);
  const { segment } = await read();
  expect(VECTOR_FIELDS.length).toBeGreaterThan(1);
  expect(chunksOf(segment)).toEqual(chunksOf(whole));
});

test("vectors lie in the mapped file; whatever else there is does not, nor keeps it", async () => {
  const { segment, bytes: copied, vectors } = await read();
  for (const values of vectorsOf(segment)) expect(values.buffer).toBe(bytes.buffer);
  const others = segment.chunks.flatMap(({ batch, timestamps }) => [
    timestamps,
    ...Object.entries(batch.columns)
      .filter(([id]) => !VECTOR_FIELDS.includes(Number(id)))
      .flatMap(([, column]) => Object.values(column).filter((value) => ArrayBuffer.isView(value))),
  ]);
  for (const array of others) {
    expect(array.buffer).not.toBe(bytes.buffer);
    expect(array.buffer.byteLength - array.byteLength).toBeLessThan(64);
  }
  const mapped = [...vectors.values()].flat().reduce((sum, part) => sum + part.bytes, 0);
  expect(copied).toBeGreaterThan(0);
  expect(copied + mapped).toBeLessThan(1.1 * bytes.length);
});

test("vectors move to memory and back, and are the same", async () => {
  const { segment, vectors } = await read();
  const before = chunksOf(segment);
  for (const fieldId of VECTOR_FIELDS) {
    segment.moveVectors(fieldId, await copiedVectors(segment, fieldId, path, vectors.get(fieldId)!));
  }
  for (const values of vectorsOf(segment)) expect(values.buffer).not.toBe(bytes.buffer);
  expect(chunksOf(segment)).toEqual(before);
  for (const fieldId of VECTOR_FIELDS) {
    segment.moveVectors(fieldId, mappedVectors(segment, fieldId, bytes.buffer, vectors.get(fieldId)!));
  }
  for (const values of vectorsOf(segment)) expect(values.buffer).toBe(bytes.buffer);
  expect(chunksOf(segment)).toEqual(before);
});

test("a file of other rows than the manifest says, or of none, is corrupt", async () => {
  const files = { path, mapped: bytes.buffer };
  const fewer = readMappedSegment({ ...DOC, rowCount: 5 }, KEY, VECTOR_FIELDS, files, systemClock);
  await expect(fewer).rejects.toMatchObject({ kind: "corrupt" });
  const other = join(folder, "other");
  await writeFile(other, "no Arrow file at all, but long enough for its magic bytes");
  const none = readMappedSegment(DOC, KEY, VECTOR_FIELDS, { ...files, path: other }, systemClock);
  await expect(none).rejects.toBeInstanceOf(VdbError);
});
