/**
 * Divides rows by shard and partition and writes segments of about the sealing size, each a local Arrow file. With few shards
 * and partitions, each has a file that grows with every chunk of rows, so that it can be stored meanwhile. With many, rows wait
 * until they make a segment: in memory up to a bound, beyond it in a file of their shard and partition.
 */
import { type FileHandle, open } from "node:fs/promises";
import { join } from "node:path";
import { partitionKeyField, partitionOfKey } from "../partitions.ts";
import { decode, encode } from "../protocol/codec.ts";
import { type CollectionSchema, primaryField } from "../schema.ts";
import type { ColumnBatch } from "../segment/column.ts";
import { ColumnBuilder } from "../segment/column-builder.ts";
import { batchBytes, takeRows } from "../segment/gather.ts";
import { type KeyColumn, shardOfKey } from "../segment/keys.ts";
import { CHUNK_ROWS } from "../segment/segment.ts";
import { GrowingFile } from "./growing-file.ts";

/** Most files that grow at once: storing one takes buffers. */
const GROWING_MAX = 4;

export interface ShardWriterOptions {
  schema: CollectionSchema;
  shardCount: number;
  /** Partitions by partition key; 1 if all rows go to one partition. */
  partitionCount: number;
  targetBytes: number;
  /** Most bytes of rows that wait in memory. */
  memoryBytes: number;
  folder: string;
  /** The value in the files' column of timestamps. */
  ts: bigint;
  /** A file has been started. */
  onBegin(file: SegmentFile): void;
  /** This many bytes of it can be read. */
  onGrown(path: string, bytes: number): void;
  /** It is complete; the next one is started when this resolves. */
  onEnd(path: string, rowCount: number): Promise<void>;
}

export interface SegmentFile {
  /** The shard's index in the collection's list. */
  shard: number;
  partition: number;
  path: string;
}

/** Rows of one shard and partition that are not in a complete segment yet. */
interface Group {
  shard: number;
  partition: number;
  /** The size of the next segment, with the rows that wait. */
  bytes: number;
  file: GrowingFile | undefined;
  /** Waiting rows in the order in which they came: those of the next chunk, and the others. */
  rowCount: number;
  chunk: ChunkBuilder | undefined;
  inMemory: ColumnBatch[];
  memoryBytes: number;
  /** Positions in the spill file of what came before. */
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
      if (group.bytes >= this.#options.targetBytes) await this.#endSegment(group);
      else if (this.#isGrowing && group.rowCount >= CHUNK_ROWS) await this.#write(group, false);
    }
    while (this.#memoryBytes > this.#options.memoryBytes) await this.#spillLargest();
  }

  async end(): Promise<void> {
    for (const group of this.#groups.values()) if (group.bytes > 0) await this.#endSegment(group);
  }

  async close(): Promise<void> {
    for (const { spill, file } of this.#groups.values()) {
      await spill?.file.close();
      await file?.close();
    }
  }

  get #isGrowing(): boolean {
    return this.#options.shardCount * this.#options.partitionCount <= GROWING_MAX;
  }

  #group(shard: number, partition: number): Group {
    const key = shard * this.#options.partitionCount + partition;
    let group = this.#groups.get(key);
    if (group === undefined) {
      group = {
        ...{ shard, partition, bytes: 0, file: undefined, rowCount: 0, chunk: undefined, inMemory: [], memoryBytes: 0 },
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
    const begun = group.chunk === undefined || group.chunk.rowCount === 0 ? [] : [group.chunk.batch()];
    for (const batch of [...begun, ...group.inMemory]) {
      const bytes = encode(batch);
      await group.spill.file.write(bytes, 0, bytes.length, group.spill.end);
      group.spilled.push({ position: group.spill.end, length: bytes.length });
      group.spill.end += bytes.length;
    }
    group.chunk = undefined;
    this.#forgetMemory(group);
  }

  #forgetMemory(group: Group): void {
    this.#memoryBytes -= group.memoryBytes;
    group.memoryBytes = 0;
    group.inMemory = [];
  }

  async #endSegment(group: Group): Promise<void> {
    await this.#write(group, true);
    const file = group.file!;
    group.file = undefined;
    group.bytes = 0;
    await file.end();
    this.#options.onGrown(file.path, file.bytes);
    await this.#options.onEnd(file.path, file.rowCount);
  }

  /** Writes the waiting rows to the segment's file, in chunks as in every segment; the last one only if it is full or `isAll`. */
  async #write(group: Group, isAll: boolean): Promise<void> {
    const file = await this.#fileOf(group);
    // All in the same memory, one after the other: new memory for each costs more than filling it.
    group.chunk ??= new ChunkBuilder(Math.min(CHUNK_ROWS, group.rowCount));
    const { chunk } = group;
    const write = async () => {
      const timestamps = new BigInt64Array(chunk.rowCount).fill(this.#options.ts);
      await file.write({ batch: chunk.batch(), timestamps });
      chunk.clear();
      this.#options.onGrown(file.path, file.bytes);
    };
    for await (const batch of batchesOf(group)) {
      for (let start = 0; start < batch.rowCount; ) {
        const end = Math.min(batch.rowCount, start + CHUNK_ROWS - chunk.rowCount);
        chunk.append(batch, start, end);
        start = end;
        if (chunk.rowCount === CHUNK_ROWS) await write();
      }
    }
    if (chunk.rowCount > 0 && isAll) await write();
    if (isAll) group.chunk = undefined;
    this.#forgetMemory(group);
    group.rowCount = chunk.rowCount;
    group.spilled = [];
    if (group.spill !== undefined) group.spill.end = 0;
    if (chunk.rowCount === 0) return;
    group.memoryBytes = batchBytes(chunk.batch());
    this.#memoryBytes += group.memoryBytes;
  }

  async #fileOf(group: Group): Promise<GrowingFile> {
    if (group.file === undefined) {
      const { schema, folder, onBegin } = this.#options;
      const { shard, partition } = group;
      const path = join(folder, `segment-${this.#files++}.arrow`);
      group.file = await GrowingFile.create(path, schema.fields);
      onBegin({ shard, partition, path });
    }
    return group.file;
  }
}

/** Collects the rows of a chunk as they come. */
class ChunkBuilder {
  rowCount = 0;
  readonly #capacity: number;
  /** By field. */
  readonly #columns = new Map<string, ColumnBuilder>();

  constructor(capacity: number) {
    this.#capacity = capacity;
  }

  append(batch: ColumnBatch, start: number, end: number): void {
    for (const [fieldId, column] of Object.entries(batch.columns)) {
      let builder = this.#columns.get(fieldId);
      if (builder === undefined) {
        builder = new ColumnBuilder(column, this.#capacity);
        this.#columns.set(fieldId, builder);
      }
      builder.append(column, start, end);
    }
    this.rowCount += end - start;
  }

  /** Valid until it is cleared. */
  batch(): ColumnBatch {
    const columns = Object.fromEntries([...this.#columns].map(([fieldId, builder]) => [fieldId, builder.view()]));
    return { rowCount: this.rowCount, columns };
  }

  clear(): void {
    this.rowCount = 0;
    for (const builder of this.#columns.values()) builder.clear();
  }
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
