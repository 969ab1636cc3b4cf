/**
 * A shard: the rows of one vchannel that are not yet served by query nodes, as the log made them. Its state is a
 * function of the log: applying the same records to the same manifest gives the same shard, which is all that recovery is.
 *
 * Owns     growing segments (one a partition), sealed ones on their way to objects, flushed ones until the query view
 *          has them; deletes not yet in objects; the window of request ids.
 * Invariants
 *   S1. A row is in exactly one segment, and a segment's rows are those of a contiguous run of its partition's log:
 *       sealing happens between records, never inside one.
 *   S2. A flushed segment is kept until the view names it: at every instant a row is served by exactly one of the two.
 *       When compaction has put others in its place it is no longer served from here.
 */
import type { LogEntry } from "../../runtime/log/record.ts";
import { flushedSeqOf } from "../../runtime/meta/manifest.ts";
import type { CollectionDoc, ManifestDoc } from "../../runtime/protocol/catalog.ts";
import { primaryField } from "../../runtime/schema.ts";
import { batchBytes, columnRows } from "../../runtime/segment/gather.ts";
import { hashKey, type KeyColumn, keyKindOf } from "../../runtime/segment/keys.ts";
import { Segment } from "../../runtime/segment/segment.ts";
import type { WholeTurns } from "../../runtime/turns.ts";
import { RequestWindow } from "./request-window.ts";

export interface GrowingSegment {
  readonly segment: Segment;
  /** Log sequences of its first and last row. */
  readonly fromSeq: number;
  toSeq: number;
  /** Monotonic time of its first row's writing. */
  readonly openedAt: number;
}

/** Deletes of one log record, not yet in an object. */
export interface PendingDeletes {
  readonly seq: number;
  readonly ts: bigint;
  readonly keys: KeyColumn;
  /** Monotonic time of their writing. */
  readonly writtenAt: number;
}

export interface SealLimits {
  sealRows: number;
  sealBytes: number;
  sealAgeMs: number;
}

export interface DeleteLimits {
  deleteRows: number;
  deleteBytes: number;
}

export class Shard {
  readonly collectionId: number;
  readonly vchannel: string;
  readonly requests = new RequestWindow();
  readonly keyKind: KeyColumn["kind"];
  /** Of the primary key. */
  readonly keyFieldId: number;
  readonly #newSegmentId: () => string;
  readonly #growing = new Map<number, GrowingSegment>();
  #sealed: GrowingSegment[] = [];
  /** Flushed, served from here until the view has them. */
  #handingOver: Segment[] = [];
  #deletes: PendingDeletes[] = [];
  /** Of the deletes since they were last said to be due. */
  #newDeletes = { rows: 0, bytes: 0 };

  constructor(collection: CollectionDoc, vchannel: string, newSegmentId: () => string) {
    this.collectionId = collection.collectionId;
    this.vchannel = vchannel;
    const key = primaryField(collection.schema);
    this.keyFieldId = key.fieldId;
    this.keyKind = keyKindOf(key);
    this.#newSegmentId = newSegmentId;
  }

  /**
   * Takes one entry of the log, written at a (monotonic) time. What the manifest says is already in objects is skipped
   * (replay starts before it). isDropped: of a partition that is gone; its rows are, and what it deletes elsewhere is not.
   * isMarked: `markDeleted` has ended, before any entry of the record was applied.
   */
  apply(
    entry: LogEntry,
    seq: number,
    manifest: ManifestDoc,
    writtenAt: number,
    { isDropped = false, isMarked = false } = {},
  ): void {
    this.requests.add(entry.requestId, { ts: entry.ts, seq });
    const keys = this.#keysDeletedBy(entry);
    if (keys !== undefined) {
      const segments = isMarked ? this.#grownSince(seq) : this.localSegments();
      for (let row = 0, count = columnRows(keys); row < count; row++) deleteKey(segments, keys, row, entry.ts);
      this.#keepDeletes({ keys, ts: entry.ts, seq, writtenAt }, manifest);
    }
    if (entry.batch === undefined || isDropped) return;
    if (seq <= (manifest.flushed[entry.partitionId] ?? manifest.flushedSeq)) return;
    let growing = this.#growing.get(entry.partitionId);
    if (growing === undefined) {
      const segment = new Segment({
        segmentId: this.#newSegmentId(),
        partitionId: entry.partitionId,
        keyFieldId: this.keyFieldId,
        keyKind: this.keyKind,
      });
      growing = { segment, fromSeq: seq, toSeq: seq, openedAt: writtenAt };
      this.#growing.set(entry.partitionId, growing);
    }
    growing.segment.append(entry.batch, entry.ts);
    growing.toSeq = seq;
  }

  /** How many look-ups it takes to find what an entry deletes: each key in each segment. */
  lookupsOf(entry: LogEntry): number {
    const keys = this.#keysDeletedBy(entry);
    if (keys === undefined) return 0;
    return columnRows(keys) * (this.#handingOver.length + this.#sealed.length + this.#growing.size);
  }

  /**
   * Marks, in turns, what a stored entry deletes of the rows that are here; `apply` has to follow. No read sees it before: none
   * is at the entry's timestamp yet. Segments may be sealed and handed over meanwhile; no flush may begin.
   *
   * @param turns shared by all entries of the record, and counted in look-ups
   */
  async markDeleted(entry: LogEntry, turns: WholeTurns): Promise<void> {
    const keys = this.#keysDeletedBy(entry);
    if (keys === undefined) return;
    const segments = this.localSegments();
    for (let row = 0, count = columnRows(keys); row < count; row++) {
      if (turns.isDue(Math.max(1, segments.length))) await turns.take();
      deleteKey(segments, keys, row, entry.ts);
    }
  }

  /** Forgets the rows of partitions that are not among these: they have been dropped. */
  keepPartitions(partitionIds: ReadonlySet<number>): void {
    const isKept = ({ partitionId }: { partitionId: number }) => partitionIds.has(partitionId);
    for (const partitionId of this.#growing.keys())
      if (!partitionIds.has(partitionId)) this.#growing.delete(partitionId);
    this.#sealed = this.#sealed.filter(({ segment }) => isKept(segment));
    this.#handingOver = this.#handingOver.filter(isKept);
  }

  /**
   * Seals what has grown large or old, and with what is old what soon would be: of many partitions each would come due
   * at a time of its own, and each would be a flush. Call between records. Returns whether anything was sealed.
   */
  sealDue(limits: SealLimits, now: number): boolean {
    let sealed = false;
    const { sealRows, sealBytes, sealAgeMs } = limits;
    let isOldDue = false;
    for (const { openedAt } of this.#growing.values()) if (now - openedAt >= sealAgeMs) isOldDue = true;
    const ageMs = isOldDue ? sealAgeMs / 2 : sealAgeMs;
    for (const [partitionId, growing] of this.#growing) {
      const { segment } = growing;
      const isDue = segment.rowCount >= sealRows || segment.bytes >= sealBytes || now - growing.openedAt >= ageMs;
      if (!isDue) continue;
      this.#growing.delete(partitionId);
      this.#sealed.push(growing);
      sealed = true;
    }
    return sealed;
  }

  /** Seals what began to grow at or before a place in the log. Call between records. */
  sealThrough(seq: number): void {
    for (const [partitionId, growing] of this.#growing) {
      if (growing.fromSeq > seq) continue;
      this.#growing.delete(partitionId);
      this.#sealed.push(growing);
    }
  }

  /** Seals everything that has rows. Call between records. */
  sealAll(): void {
    this.#sealed.push(...this.#growing.values());
    this.#growing.clear();
  }

  /** Whether so many deletes have come since the last time that this said so: what they hold in memory is bounded by it. */
  deletesDue({ deleteRows, deleteBytes }: DeleteLimits): boolean {
    const { rows, bytes } = this.#newDeletes;
    if (rows < deleteRows && bytes < deleteBytes) return false;
    this.#newDeletes = { rows: 0, bytes: 0 };
    return true;
  }

  get sealed(): readonly GrowingSegment[] {
    return this.#sealed;
  }

  get pendingDeletes(): readonly PendingDeletes[] {
    return this.#deletes;
  }

  get hasGrowing(): boolean {
    return this.#growing.size > 0;
  }

  /** Segments that are in the manifest now; kept while a view is to take them over. Deletes up to deltaSeq are in objects. */
  flushed(segments: readonly GrowingSegment[], deltaSeq: number, keepForView: boolean): void {
    this.#sealed = this.#sealed.filter((sealed) => !segments.includes(sealed));
    if (keepForView) this.#handingOver.push(...segments.map(({ segment }) => segment));
    this.#deletes = this.#deletes.filter(({ seq }) => seq > deltaSeq);
  }

  /** Drops flushed segments that are served elsewhere now (or by nobody, when the collection is not loaded). */
  handedOver(isElsewhere: (segment: Segment) => boolean): void {
    this.#handingOver = this.#handingOver.filter((segment) => !isElsewhere(segment));
  }

  /** Segments whose rows no segment of the manifest stands for yet, or only under the same id: what compaction replaced is left out. */
  liveSegments(manifest: ManifestDoc): Segment[] {
    // Most shards hand nothing over; one of a thousand partitions may hand over a thousand segments at once.
    const isIdle = this.#handingOver.length === 0 && this.#sealed.length === 0;
    const named = new Set(isIdle ? [] : manifest.segments.map(({ segmentId }) => segmentId));
    const isNamed = ({ segmentId }: Segment) => named.has(segmentId);
    // A flush that has been entered may not have come back here yet.
    const isEntered = ({ segment, toSeq }: GrowingSegment) => toSeq <= flushedSeqOf(manifest, segment.partitionId);
    const sealed = this.#sealed.filter((growing) => !isEntered(growing) || isNamed(growing.segment));
    return [
      ...this.#handingOver.filter(isNamed),
      ...sealed.map(({ segment }) => segment),
      ...[...this.#growing.values()].map(({ segment }) => segment),
    ];
  }

  /** All segments that are in memory here. */
  localSegments(): Segment[] {
    return [
      ...this.#handingOver,
      ...this.#sealed.map(({ segment }) => segment),
      ...[...this.#growing.values()].map(({ segment }) => segment),
    ];
  }

  /** Sequence of the first log record that is not wholly in objects; null when all are. */
  firstUnflushedSeq(): number | null {
    if (this.#growing.size === 0 && this.#sealed.length === 0 && this.#deletes.length === 0) return null;
    const firsts = [...this.#sealed, ...this.#growing.values()].map(({ fromSeq }) => fromSeq);
    const [oldestDelete] = this.#deletes;
    if (oldestDelete !== undefined) firsts.push(oldestDelete.seq);
    return firsts.length === 0 ? null : Math.min(...firsts);
  }

  /** When the oldest of what is not in objects was written (monotonic); null when all is. */
  oldestUnflushedAt(): number | null {
    let oldest = this.#deletes[0]?.writtenAt ?? null;
    if (this.#growing.size === 0 && this.#sealed.length === 0) return oldest;
    for (const { openedAt } of [...this.#sealed, ...this.#growing.values()])
      if (oldest === null || openedAt < oldest) oldest = openedAt;
    return oldest;
  }

  /** Bytes of rows that are not sealed yet. */
  growingBytes(): number {
    let bytes = 0;
    for (const { segment } of this.#growing.values()) bytes += segment.bytes;
    return bytes;
  }

  /** Bytes of all rows that are served from here, flushed or not. */
  heldBytes(): number {
    // Asked of every shard ten times a second while there are writes; most have nothing.
    if (this.#growing.size === 0 && this.#sealed.length === 0 && this.#handingOver.length === 0) return 0;
    return this.localSegments().reduce((sum, { bytes }) => sum + bytes, 0);
  }

  /** Rows that are in no object yet, of one partition or of all; those deleted again do not count. */
  unflushedRows(partitionId?: number): number {
    let rows = 0;
    for (const { segment } of [...this.#growing.values(), ...this.#sealed]) {
      const isCounted = partitionId === undefined || segment.partitionId === partitionId;
      if (isCounted) rows += segment.rowCount - segment.deletedCount;
    }
    return rows;
  }

  #keysDeletedBy({ keys, operation, batch }: LogEntry): KeyColumn | undefined {
    return keys ?? (operation === "upsert" ? (batch!.columns[this.keyFieldId] as KeyColumn) : undefined);
  }

  /** Segments that have rows of this record, or of later ones. */
  #grownSince(seq: number): Segment[] {
    return [...this.#growing.values()].filter(({ toSeq }) => toSeq >= seq).map(({ segment }) => segment);
  }

  #keepDeletes(deletes: PendingDeletes, manifest: ManifestDoc): void {
    const { keys, seq } = deletes;
    if (seq <= manifest.deltaSeq) return;
    // A copy: they may be a view of a whole request, with its vectors.
    const copy = copyOf(keys);
    const rowCount = columnRows(keys);
    this.#deletes.push({ ...deletes, keys: copy });
    this.#newDeletes.rows += rowCount;
    this.#newDeletes.bytes += batchBytes({ rowCount, columns: { [this.keyFieldId]: copy } });
  }
}

function deleteKey(segments: readonly Segment[], keys: KeyColumn, row: number, ts: bigint): void {
  const hash = hashKey(keys, row);
  for (const segment of segments) segment.delete(keys, row, ts, hash);
}

function copyOf(keys: KeyColumn): KeyColumn {
  if (keys.kind === "int64") return { kind: "int64", values: keys.values.slice() };
  return { ...keys, offsets: keys.offsets.slice(), bytes: keys.bytes.slice(0, keys.offsets.at(-1)) };
}
