/** Rows that are cut into segments: each is in one, as it came, however little memory there is for those that wait. */
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import type { CollectionSchema } from "../schema.ts";
import { readSegmentFile } from "../segment/arrow-file.ts";
import type { KeyColumn } from "../segment/keys.ts";
import { shardOfKey } from "../segment/keys.ts";
import { CHUNK_ROWS } from "../segment/segment.ts";
import { ALL_FIELDS, batchOf, KEY_FIELD, type ModelRow, rowsOf, VECTOR_FIELD } from "../testing/column-rows.ts";
import { type SegmentFile, ShardWriter } from "./shard-writer.ts";

const TEXT_FIELD = ALL_FIELDS.find(({ type, nullable }) => type === "VarChar" && nullable)!;
const FIELDS = [KEY_FIELD, VECTOR_FIELD, TEXT_FIELD];
const SCHEMA = {
  version: 0,
  fields: FIELDS.map((field) => ({ ...field, isPrimary: field === KEY_FIELD })),
} as unknown as CollectionSchema;
const ROWS = 2 * CHUNK_ROWS + 100;
const BATCH = 1000;
const MANY_BYTES = 1 << 28;

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "vdb-shard-writer-"));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

/** Nulls in one chunk and not in the next one, and the other way round. */
const rowOf = (i: number): ModelRow => ({
  [KEY_FIELD.fieldId]: BigInt(i),
  [VECTOR_FIELD.fieldId]: [i, -i, 0.5],
  [TEXT_FIELD.fieldId]: i % CHUNK_ROWS < 4000 && i % 3 === 0 ? null : `é${i}`,
});

async function write(limits: { shardCount: number; targetBytes: number; memoryBytes: number }) {
  const begun: SegmentFile[] = [];
  const ended = new Map<string, number>();
  const grown = new Map<string, number>();
  const writer = new ShardWriter({
    ...{ ...limits, schema: SCHEMA, partitionCount: 1, folder, ts: 7n },
    onBegin: (file) => void begun.push(file),
    onGrown: (path, bytes) => void grown.set(path, bytes),
    onEnd: async (path, rowCount) => void ended.set(path, rowCount),
  });
  for (let start = 0; start < ROWS; start += BATCH) {
    const rows = Array.from({ length: Math.min(BATCH, ROWS - start) }, (_, i) => rowOf(start + i));
    await writer.add(batchOf(FIELDS, rows));
  }
  await writer.end();
  await writer.close();
  return await Promise.all(
    begun.map(async ({ shard, path }) => {
      const bytes = await readFile(path);
      expect(grown.get(path)).toBe(bytes.length);
      const chunks = readSegmentFile(bytes);
      const rows = chunks.flatMap(({ batch }) => rowsOf(batch, FIELDS));
      expect(ended.get(path)).toBe(rows.length);
      expect(chunks.slice(0, -1).every(({ batch }) => batch.rowCount === CHUNK_ROWS)).toBe(true);
      expect(chunks.every(({ timestamps }) => timestamps.every((ts) => ts === 7n))).toBe(true);
      return { shard, rows };
    }),
  );
}

test.each([
  ["one segment that grows", { shardCount: 1, targetBytes: MANY_BYTES, memoryBytes: MANY_BYTES }],
  ["one segment, with memory for some rows", { shardCount: 1, targetBytes: MANY_BYTES, memoryBytes: 50_000 }],
  ["segments that are full before a chunk is", { shardCount: 1, targetBytes: 100_000, memoryBytes: MANY_BYTES }],
  ["more shards than files may grow", { shardCount: 6, targetBytes: 60_000, memoryBytes: 100_000 }],
])("%s: every row is there once, in its shard, as it came", async (_, limits) => {
  const segments = await write(limits);
  const keys = { kind: "int64", values: BigInt64Array.from({ length: ROWS }, (_, i) => BigInt(i)) } as KeyColumn;
  for (let shard = 0; shard < limits.shardCount; shard++) {
    const found = segments.filter((segment) => segment.shard === shard).flatMap(({ rows }) => rows);
    const expected = Array.from({ length: ROWS }, (_, i) => i)
      .filter((i) => shardOfKey(keys, i, limits.shardCount) === shard)
      .map(rowOf);
    expect(found).toEqual(expected);
  }
});
