/**
 * Rows cut by shard and partition, and written as segments of about the sealing size, each a local Arrow file. What waits
 * to become a segment is in memory up to a bound, beyond it in a file of the rows' shard and partition.
 */
import { createWriteStream } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { join } from "node:path";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import type { Clock } from "../clock.ts";
import { partitionKeyField, partitionOfKey } from "../partitions.ts";
import { decode, encode } from "../protocol/codec.ts";
import { type CollectionSchema, primaryField } from "../schema.ts";
import { type StoredChunk, writeSegmentFile } from "../segment/arrow-file.ts";
import type { Column, ColumnBatch } from "../segment/column.ts";
import { ColumnBuilder } from "../segment/column-builder.ts";
import { batchBytes, takeRows } from "../segment/gather.ts";
import { type KeyColumn, shardOfKey } from "../segment/keys.ts";
import { CHUNK_ROWS } from "../segment/segment.ts";

export interface ShardWriterOptions {
  schema: CollectionSchema;
  shardCount: number;
  /** By partition key; 1 where rows go to one partition. */
  partitionCount: number;
  targetBytes: number;
  /** Of rows that wait in memory. */
  memoryBytes: number;
  folder: string;
  /** In the files' column of timestamps. */
  ts: bigint;
  clock: Clock;
  /** Takes a file that is whole; the next one is written when it resolves. */
  onSegment(segment: SegmentFile): Promise<void>;
}

export interface SegmentFile {
  /** Of the collection's lists. */
  shard: number;
  partition: number;
  rowCount: number;
  path: string;
}

/** Rows of one shard and partition that are not in a segment yet, in the order in which they came. */
interface Group {
  shard: number;
  partition: number;
  rowCount: number;
  bytes: number;
  inMemory: ColumnBatch[];
  memoryBytes: number;
  /** Places in the spill file, of what came before. */
  spilled: { position: number; length: number }[];
  spill: { file: FileHandle; end: number } | undefined;
}

export class ShardWriter {
  readonly #options: ShardWriterOptions;
  readonly #groups = new Map<number, Group>();
  #memoryBytes = 0;
  #files = 0;

  constructor(options: ShardWriterOptions) {
    this.#options = options;
  }

  async add(batch: ColumnBatch): Promise<void> {
    for (const { shard, partition, rows } of this.#cut(batch)) {
      const group = this.#group(shard, partition);
      const bytes = batchBytes(rows);
      group.inMemory.push(rows);
      group.rowCount += rows.rowCount;
      group.bytes += bytes;
      group.memoryBytes += bytes;
      this.#memoryBytes += bytes;
      if (group.bytes >= this.#options.targetBytes) await this.#writeSegment(group);
    }
    while (this.#memoryBytes > this.#options.memoryBytes) await this.#spillLargest();
  }

  async end(): Promise<void> {
    for (const group of this.#groups.values()) if (group.rowCount > 0) await this.#writeSegment(group);
  }

  async close(): Promise<void> {
    for (const { spill } of this.#groups.values()) await spill?.file.close();
  }

  #group(shard: number, partition: number): Group {
    const key = shard * this.#options.partitionCount + partition;
    let group = this.#groups.get(key);
    if (group === undefined) {
      group = {
        ...{ shard, partition, rowCount: 0, bytes: 0, inMemory: [], memoryBytes: 0 },
        ...{ spilled: [], spill: undefined },
      };
      this.#groups.set(key, group);
    }
    return group;
  }

  #cut(batch: ColumnBatch): { shard: number; partition: number; rows: ColumnBatch }[] {
    const { schema, shardCount, partitionCount } = this.#options;
    if (shardCount * partitionCount === 1) return [{ shard: 0, partition: 0, rows: batch }];
    const keys = batch.columns[primaryField(schema).fieldId] as KeyColumn;
    const keyField = partitionCount === 1 ? undefined : partitionKeyField(schema);
    const values = keyField === undefined ? undefined : (batch.columns[keyField.fieldId] as KeyColumn);
    const rowsOf = new Map<number, number[]>();
    for (let row = 0; row < batch.rowCount; row++) {
      const shard = shardOfKey(keys, row, shardCount);
      const place = shard * partitionCount + (values === undefined ? 0 : partitionOfKey(values, row, partitionCount));
      const rows = rowsOf.get(place);
      if (rows === undefined) rowsOf.set(place, [row]);
      else rows.push(row);
    }
    return [...rowsOf].map(([place, rows]) => ({
      shard: Math.floor(place / partitionCount),
      partition: place % partitionCount,
      rows: takeRows(batch, Uint32Array.from(rows)),
    }));
  }

  async #spillLargest(): Promise<void> {
    let largest: Group | undefined;
    for (const group of this.#groups.values()) {
      if (largest === undefined || group.memoryBytes > largest.memoryBytes) largest = group;
    }
    const group = largest!;
    const name = `spill-${group.shard}-${group.partition}`;
    group.spill ??= { file: await open(join(this.#options.folder, name), "w+"), end: 0 };
    for (const batch of group.inMemory) {
      const bytes = encode(batch);
      await group.spill.file.write(bytes, 0, bytes.length, group.spill.end);
      group.spilled.push({ position: group.spill.end, length: bytes.length });
      group.spill.end += bytes.length;
    }
    this.#forgetMemory(group);
  }

  #forgetMemory(group: Group): void {
    this.#memoryBytes -= group.memoryBytes;
    group.memoryBytes = 0;
    group.inMemory = [];
  }

  async #writeSegment(group: Group): Promise<void> {
    const { schema, folder, clock, onSegment } = this.#options;
    const path = join(folder, `segment-${this.#files++}.arrow`);
    const { shard, partition, rowCount } = group;
    const bytes = writeSegmentFile(schema.fields, this.#chunks(group), clock);
    await pipeline(Readable.from(bytes, { objectMode: true, highWaterMark: 4 }), createWriteStream(path));
    this.#forgetMemory(group);
    group.rowCount = 0;
    group.bytes = 0;
    group.spilled = [];
    if (group.spill !== undefined) group.spill.end = 0;
    await onSegment({ shard, partition, rowCount, path });
  }

  /** Chunks as every segment has them: whole, but for the last. */
  async *#chunks(group: Group): AsyncGenerator<StoredChunk, void, undefined> {
    let builders = new Map<string, ColumnBuilder>();
    let rows = 0;
    const take = (): StoredChunk => {
      const columns = Object.fromEntries([...builders].map(([fieldId, builder]) => [fieldId, builder.view()]));
      const chunk = {
        batch: { rowCount: rows, columns },
        timestamps: new BigInt64Array(rows).fill(this.#options.ts),
      };
      builders = new Map();
      rows = 0;
      return chunk;
    };
    for await (const batch of batchesOf(group)) {
      for (let start = 0; start < batch.rowCount; ) {
        const end = Math.min(batch.rowCount, start + CHUNK_ROWS - rows);
        for (const [fieldId, column] of Object.entries(batch.columns)) {
          builderOf(builders, fieldId, column, group.rowCount).append(column, start, end);
        }
        rows += end - start;
        start = end;
        if (rows === CHUNK_ROWS) yield take();
      }
    }
    if (rows > 0) yield take();
  }
}

function builderOf(
  builders: Map<string, ColumnBuilder>,
  fieldId: string,
  column: Column,
  rowCount: number,
): ColumnBuilder {
  let builder = builders.get(fieldId);
  if (builder === undefined) {
    builder = new ColumnBuilder(column, Math.min(CHUNK_ROWS, rowCount));
    builders.set(fieldId, builder);
  }
  return builder;
}

/** In the order in which they came: what was spilled came first. */
async function* batchesOf({ spilled, spill, inMemory }: Group): AsyncGenerator<ColumnBatch, void, undefined> {
  for (const { position, length } of spilled) {
    const bytes = new Uint8Array(length);
    await spill!.file.read(bytes, 0, length, position);
    yield decode(bytes) as ColumnBatch;
  }
  yield* inMemory;
}
