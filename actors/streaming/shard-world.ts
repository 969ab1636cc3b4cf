/**
 * A shard for tests, with its log and its owner's flushes, over ports that keep everything in maps; and what may be read
 * of it at every time, as the log alone says.
 */
import { expect } from "vitest";
import type { ActorContext } from "../../runtime/actor.ts";
import { VdbError } from "../../runtime/errors.ts";
import type { LogEntry, LogOperation } from "../../runtime/log/record.ts";
import type { MetaCache } from "../../runtime/meta/cache.ts";
import { createCatalog } from "../../runtime/meta/catalog.ts";
import type { MetaOp } from "../../runtime/meta/port.ts";
import { type CollectionDoc, decodeDoc, type ManifestDoc, metaKeys } from "../../runtime/protocol/catalog.ts";
import type { FieldSchema } from "../../runtime/schema.ts";
import { readSegmentFile } from "../../runtime/segment/arrow-file.ts";
import { hasBit } from "../../runtime/segment/bitset.ts";
import type { ColumnBatch, Int64Column, NumberColumn } from "../../runtime/segment/column.ts";
import { readDeletedRows } from "../../runtime/segment/delete-files.ts";
import { type KeyColumn, keysOf } from "../../runtime/segment/keys.ts";
import { Segment } from "../../runtime/segment/segment.ts";
import { WholeTurns } from "../../runtime/turns.ts";
import { type FlushPoint, flushShard } from "./flush.ts";
import { type SealLimits, Shard } from "./shard.ts";

export const VCHANNEL = "0_1v0";
export const NEVER: SealLimits = { sealRows: 1e9, sealBytes: 1e9, sealAgeMs: 1e9 };

function field(fieldId: number, name: string, type: FieldSchema["type"], isPrimary = false): FieldSchema {
  return { fieldId, name, type, description: "", isPrimary, nullable: false, isDynamic: false };
}

export const COLLECTION: CollectionDoc = {
  collectionId: 1,
  database: "default",
  name: "c",
  description: "",
  schema: {
    version: 1,
    autoId: false,
    enableDynamicField: false,
    fields: [field(100, "id", "Int64", true), field(101, "n", "Int32")],
  },
  partitions: [
    { partitionId: 1, name: "_default" },
    { partitionId: 2, name: "other" },
  ],
  shards: [{ vchannel: VCHANNEL, pchannel: 0 }],
  indexes: [],
  loaded: { replicaNumber: 1 },
  consistencyLevel: "Bounded",
  properties: {},
  createdAt: 1n,
};

export const EMPTY_MANIFEST: ManifestDoc = {
  collectionId: 1,
  vchannel: VCHANNEL,
  pchannel: 0,
  segments: [],
  staged: [],
  flushed: {},
  flushedSeq: 0,
  deltaSeq: 0,
  deltas: [],
};

/** `n` is one row of the whole history: what tells rows of one key apart. */
export interface ModelRow {
  n: number;
  key: bigint;
  partitionId: number;
  ts: bigint;
}

export class World {
  readonly log: { seq: number; entries: LogEntry[] }[] = [];
  readonly rows: ModelRow[] = [];
  readonly deletes: { key: bigint; ts: bigint }[] = [];
  readonly objects = new Map<string, Uint8Array>();
  readonly ctx: ActorContext;
  shard: Shard;
  collection = COLLECTION;
  checkpoint = 0;
  lastTs = 0n;
  isMetaThere = true;
  flush: { done: Promise<void>; letGo: () => void; fail: () => void } | undefined;
  #manifest = EMPTY_MANIFEST;
  #gate: Promise<void> = Promise.resolve();
  #isWindowLoaded = true;
  #term = 1;
  #ids = 0;

  constructor() {
    const docs = new Map<string, () => unknown>([
      [metaKeys.collection(1), () => this.collection],
      [metaKeys.manifest(VCHANNEL), () => this.#manifest],
      [metaKeys.channel(0), () => ({ nodeId: "me", term: this.#term })],
    ]);
    const cache = { get: (key: string) => docs.get(key)?.(), revisionOf: () => 1, waitFor: async () => undefined };
    this.ctx = {
      nodeId: "me",
      catalog: createCatalog(cache as unknown as MetaCache),
      clock: { monotonic: () => 0, yield: async () => undefined },
      random: { ulid: () => this.#newId() },
      signal: new AbortController().signal,
      blobs: {
        put: async (name: string, content: AsyncIterable<Uint8Array> | Iterable<Uint8Array>) => {
          const gate = this.#gate;
          const parts: Uint8Array[] = [];
          for await (const part of content) parts.push(part);
          await gate;
          const bytes = new Uint8Array(Buffer.concat(parts));
          const existing = this.objects.get(name);
          if (existing !== undefined && Buffer.compare(existing, bytes) !== 0)
            throw new VdbError("internal", `object ${name} exists already and is another one`);
          this.objects.set(name, bytes);
          return { name, bytes: bytes.length, digest: "" };
        },
        get: async ({ name }: { name: string }) => this.objects.get(name)!,
      },
      meta: {
        commit: async (ops: MetaOp[]) => {
          if (!this.isMetaThere) throw new VdbError("unavailable", "the meta store is away");
          for (const op of ops) if (op.op === "put") this.#manifest = decodeDoc(op.key, op.value) as ManifestDoc;
          return 1;
        },
      },
    } as unknown as ActorContext;
    this.shard = this.#newShard();
  }

  get manifest(): ManifestDoc {
    return this.#manifest;
  }

  /** As another's commit leaves it. */
  set manifest(manifest: ManifestDoc) {
    this.#manifest = manifest;
  }

  get appliedSeq(): number {
    return this.log.at(-1)?.seq ?? 0;
  }

  append(writes: readonly { operation: LogOperation; partitionId: number; keys: readonly bigint[] }[]): void {
    this.#apply(this.#recordOf(writes), false);
  }

  /** As `append`, with what is deleted marked before, and something else done between the marks of one entry and the next. */
  async appendInTurns(writes: Parameters<World["append"]>[0], meanwhile: () => Promise<void>): Promise<void> {
    const record = this.#recordOf(writes);
    const turns = new WholeTurns(this.ctx.clock, 1);
    for (const entry of record.entries) {
      await this.shard.markDeleted(entry, turns);
      await meanwhile();
    }
    this.#apply(record, true);
  }

  #apply(record: { seq: number; entries: LogEntry[] }, isMarked: boolean): void {
    this.log.push(record);
    const { seq, entries } = record;
    for (const entry of entries) this.shard.apply(entry, seq, this.#manifest, 0, { isMarked });
  }

  #recordOf(writes: Parameters<World["append"]>[0]): { seq: number; entries: LogEntry[] } {
    // Other shards and fences take sequences too.
    const seq = this.appliedSeq + 1 + (this.log.length % 3);
    const entries = writes.map(({ operation, partitionId, keys }): LogEntry => {
      const ts = ++this.lastTs;
      const column = keysOf("int64", keys);
      const body = { vchannel: VCHANNEL, requestId: `r${ts}`, operation, partitionId, schemaVersion: 1, ts };
      if (operation !== "insert") this.deletes.push(...keys.map((key) => ({ key, ts })));
      if (operation === "delete") return { ...body, keys: column };
      return { ...body, batch: this.#batch(column, keys, partitionId, ts) };
    });
    return { seq, entries };
  }

  /** Begins a flush; what it stores arrives only when `letGo` is called. */
  startFlush(): void {
    if (this.flush !== undefined) return;
    let letGo = () => {};
    let fail = () => {};
    this.#gate = new Promise((resolve, reject) => {
      letGo = resolve;
      fail = () => reject(new Error("the owner died"));
    });
    this.#gate.catch(() => undefined);
    this.#loadWindow();
    const point: FlushPoint = { appliedSeq: this.appliedSeq, term: this.#term, pchannel: 0 };
    const done = flushShard(this.ctx, this.shard, point).then(() => undefined);
    done.catch(() => undefined);
    this.flush = { done, letGo, fail };
  }

  async endFlush(isCheckpointWritten: boolean): Promise<void> {
    if (this.flush === undefined) return;
    this.flush.letGo();
    await this.flush.done;
    this.flush = undefined;
    if (isCheckpointWritten)
      this.checkpoint = Math.min(this.appliedSeq, (this.shard.firstUnflushedSeq() ?? Infinity) - 1);
  }

  /** The owner dies: a flush under way may have stored objects, never a manifest. The next owner replays. */
  async takeOver(): Promise<void> {
    if (this.flush !== undefined) {
      this.flush.fail();
      await this.flush.done.catch(() => undefined);
      this.flush = undefined;
      this.#gate = Promise.resolve();
    }
    this.#term++;
    this.shard = this.rebuilt();
    this.#isWindowLoaded = false;
  }

  /** The shard as the next owner would have it. */
  rebuilt(): Shard {
    const shard = this.#newShard();
    for (const { seq, entries } of this.log) {
      if (seq <= this.checkpoint) continue;
      for (const entry of entries) shard.apply(entry, seq, this.#manifest, 0);
    }
    return shard;
  }

  /** Segments of the manifest as query nodes have them: objects, deltas, and the deletes of the log after these. */
  stored(): Segment[] {
    const { segments, deltas, deltaSeq } = this.#manifest;
    return segments.map(({ segmentId, partitionId, rowCount, object, deletes, deletesSeq }) => {
      const segment = new Segment({ segmentId, partitionId, keyFieldId: 100, keyKind: "int64" });
      for (const { batch, timestamps } of this.#read(object.name)) segment.appendChunk(batch, timestamps);
      expect(segment.rowCount).toBe(rowCount);
      for (const own of deletes === undefined
        ? []
        : readDeletedRows(this.objects.get(deletes.object.name)!, rowCount)) {
        own.rows.forEach((row, i) => {
          segment.deleteRow(row, own.timestamps[i]!);
        });
      }
      expect(segment.deletedCount).toBe(deletes?.rowCount ?? 0);
      for (const delta of deltas.filter(({ throughSeq }) => throughSeq > deletesSeq)) {
        for (const { batch, timestamps } of this.#read(delta.object.name)) {
          timestamps.forEach((ts, i) => {
            segment.delete(batch.columns[100] as KeyColumn, i, ts);
          });
        }
      }
      for (const { seq, entries } of this.log) {
        if (seq <= deltaSeq) continue;
        for (const { operation, keys, batch, ts } of entries) {
          const column =
            operation === "upsert" ? (batch!.columns[100] as Int64Column) : (keys as Int64Column | undefined);
          for (let i = 0; i < (column?.values.length ?? 0); i++) segment.delete(column!, i, ts);
        }
      }
      return segment;
    });
  }

  windowOf(shard: Shard): Shard["requests"] {
    const { requests } = this.#manifest;
    if (requests !== undefined) shard.requests.prepend(this.objects.get(requests.name)!);
    return shard.requests;
  }

  #loadWindow(): void {
    if (!this.#isWindowLoaded) this.windowOf(this.shard);
    this.#isWindowLoaded = true;
  }

  #read(name: string) {
    return readSegmentFile(this.objects.get(name)!);
  }

  #newShard(): Shard {
    return new Shard(COLLECTION, VCHANNEL, () => this.#newId());
  }

  #newId(): string {
    return String(++this.#ids).padStart(26, "0");
  }

  #batch(column: KeyColumn, keys: readonly bigint[], partitionId: number, ts: bigint): ColumnBatch {
    const values = Int32Array.from(keys, (key) => this.rows.push({ n: this.rows.length, key, partitionId, ts }) - 1);
    return { rowCount: keys.length, columns: { 100: column, 101: { kind: "int32", values } } };
  }
}

/** The numbers of the rows that a read of these segments sees, ascending. */
export function seen(segments: readonly Segment[], readTs: bigint): number[] {
  const numbers: number[] = [];
  for (const segment of segments) {
    for (const chunk of segment.chunks) {
      const visible = segment.visible(chunk, { readTs });
      const { values } = chunk.batch.columns[101] as NumberColumn;
      for (let row = 0; row < chunk.batch.rowCount; row++) {
        if (visible === null || hasBit(visible, row)) numbers.push(values[row]!);
      }
    }
  }
  return numbers.sort((a, b) => a - b);
}

function allRows(segments: readonly Segment[]): number[] {
  return segments
    .flatMap(({ chunks }) => chunks.flatMap(({ batch }) => [...(batch.columns[101] as NumberColumn).values]))
    .sort((a, b) => a - b);
}

/** Every row of the history is in one segment of the manifest or in one of the shard, and is seen when it should be. */
export function expectWhole(world: World, shard: Shard): void {
  const named = new Set(world.manifest.segments.map(({ segmentId }) => segmentId));
  const stored = world.stored();
  const local = shard.localSegments().filter(({ segmentId }) => !named.has(segmentId));
  expect(allRows([...stored, ...local])).toEqual(world.rows.map(({ n }) => n));
  const handedOver = shard.localSegments().filter(({ segmentId }) => named.has(segmentId));
  for (let readTs = 0n; readTs <= world.lastTs; readTs++) {
    const visible = ({ key, ts }: ModelRow) =>
      ts <= readTs && !world.deletes.some((d) => d.key === key && ts < d.ts && d.ts <= readTs);
    expect(seen([...stored, ...local], readTs)).toEqual(world.rows.filter(visible).map(({ n }) => n));
    // Served from here until the view has it, from there afterwards: no reader may tell the difference.
    for (const segment of handedOver) {
      const copy = stored.find(({ segmentId }) => segmentId === segment.segmentId)!;
      expect(seen([segment], readTs)).toEqual(seen([copy], readTs));
    }
  }
  for (const segment of [...stored, ...local]) {
    const { partitionId } = segment;
    expect(allRows([segment]).every((n) => world.rows[n]!.partitionId === partitionId)).toBe(true);
  }
}
