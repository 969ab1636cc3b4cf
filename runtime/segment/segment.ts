/**
 * A segment's rows in memory, growing or sealed: chunks of columns with a timestamp per row, an index from key to rows, and the
 * deleted rows with the times of their deletion. The one rule of visibility lives here: a read at R sees the rows with ts <= R
 * that no delete with ts <= R covers; a delete covers the rows of its key with a smaller ts. If rows have a time to live, it
 * sees none written before the time of expiry.
 *
 * Rows are in the order of the log, so timestamps ascend and the rows with ts <= R are a prefix, expired ones another.
 */
import { type Bitset, bitsetRows, fullBitset, hasBit, newBitset, setBit } from "./bitset.ts";
import { type Column, type ColumnBatch, type DenseVectorColumn, rowWidth } from "./column.ts";
import { ColumnBuilder } from "./column-builder.ts";
import { type Defaults, withDefaults } from "./default-columns.ts";
import { batchBytes } from "./gather.ts";
import { KeyIndex } from "./key-index.ts";
import { hashKey, type KeyColumn } from "./keys.ts";

/** Rows of a chunk: a filter or a scan of one takes about a millisecond, and other work runs between two. */
export const CHUNK_ROWS = 8192;

/** Columns of a growing chunk start this small, because most collections are tiny, and each of a thousand partitions has one. */
const INITIAL_ROWS = 8;

export interface Chunk {
  readonly firstRow: number;
  readonly batch: ColumnBatch;
  /** Ascending. */
  readonly timestamps: BigInt64Array;
}

/** What a read sees: rows and deletes up to readTs, but no row written before expiredTs (absent: rows do not expire). */
export interface Snapshot {
  readonly readTs: bigint;
  readonly expiredTs?: bigint | undefined;
}

/** The deleted rows of a segment, ascending, with the times. */
export interface DeletedRows {
  readonly rows: Int32Array;
  readonly timestamps: BigInt64Array;
}

interface ChunkDeletes {
  bits: Bitset;
  /** For each deleted row the time of the earliest delete that covers it. Grows with the rows deleted. */
  at: BigInt64Array;
  maxTs: bigint;
}

export class Segment {
  readonly segmentId: string;
  readonly partitionId: number;
  readonly keyFieldId: number;
  readonly keyKind: KeyColumn["kind"];
  #chunks: Chunk[] = [];
  readonly #keys: KeyIndex;
  readonly #deleted = new Map<number, ChunkDeletes>();
  #deletedCount = 0;
  #deletesVersion = 0;
  #lastDeleteTs = 0n;
  #deletesBytes = 0;
  #open: OpenChunk | undefined;
  #defaults: Defaults = new Map();
  #rowCount = 0;
  #bytes = 0;

  constructor(options: {
    segmentId: string;
    partitionId: number;
    keyFieldId: number;
    keyKind: KeyColumn["kind"];
    /** The number of rows that will be appended, if known. */
    rowsExpected?: number;
  }) {
    this.segmentId = options.segmentId;
    this.partitionId = options.partitionId;
    this.keyFieldId = options.keyFieldId;
    this.keyKind = options.keyKind;
    this.#keys = new KeyIndex(
      (row) => ({ column: this.#keyColumn(row >>> 13), row: row & (CHUNK_ROWS - 1) }),
      options.rowsExpected,
    );
  }

  get rowCount(): number {
    return this.#rowCount;
  }

  /** Bytes of the columns. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Bytes of what is kept beside the columns: the index of keys, the deletes. */
  get besidesBytes(): number {
    return this.#keys.memoryBytes + this.#deletesBytes;
  }

  get deletedCount(): number {
    return this.#deletedCount;
  }

  /** Grows with every delete that changes something: while it stays the same, a read that sees everything sees the same rows. */
  get deletesVersion(): number {
    return this.#deletesVersion;
  }

  /** Whether a read sees every row that no delete covers, and every delete. */
  seesAll({ readTs, expiredTs = 0n }: Snapshot): boolean {
    return readTs >= this.#lastDeleteTs && readTs >= this.maxTs && expiredTs <= this.minTs;
  }

  get minTs(): bigint {
    return this.chunks[0]?.timestamps[0] ?? 0n;
  }

  get maxTs(): bigint {
    return this.chunks.at(-1)?.timestamps.at(-1) ?? 0n;
  }

  /** Immutable views of the rows so far: a scan that pauses between chunks sees what was there when it began. */
  get chunks(): readonly Chunk[] {
    this.#refreshOpen();
    return this.#chunks;
  }

  /** From now on, rows that lack a field have its default (default-columns.ts). Cheap to repeat. */
  complete(defaults: Defaults): void {
    const before = this.#defaults;
    if (before === defaults) return;
    this.#defaults = defaults;
    if ([...defaults.keys()].every((fieldId) => before.has(fieldId))) return;
    this.#chunks = this.#chunks.map((chunk) => this.#completed(chunk));
  }

  /** Adds rows with one timestamp, not below any earlier one. */
  append(batch: ColumnBatch, ts: bigint): void {
    this.#bytes += batchBytes(batch);
    const keys = batch.columns[this.keyFieldId] as KeyColumn;
    for (let start = 0; start < batch.rowCount; ) {
      this.#open ??= new OpenChunk(this.#rowCount);
      const count = Math.min(batch.rowCount - start, CHUNK_ROWS - this.#open.rowCount);
      this.#bytes += this.#open.append(batch, start, start + count, ts);
      const firstRow = this.#rowCount;
      this.#rowCount += count;
      // The index reads keys back through the chunks when it grows.
      this.#refreshOpenKeys();
      this.#keys.add(keys, start, firstRow, count);
      if (this.#open.rowCount === CHUNK_ROWS) {
        this.#refreshOpen();
        this.#open = undefined;
      }
      start += count;
    }
  }

  /** Adds a stored chunk: CHUNK_ROWS rows, or fewer in the last one. */
  appendChunk(batch: ColumnBatch, timestamps: BigInt64Array): void {
    const firstRow = this.#rowCount;
    this.#chunks.push(this.#completed({ firstRow, batch, timestamps }));
    this.#rowCount += batch.rowCount;
    this.#bytes += batchBytes(batch);
    this.#keys.add(batch.columns[this.keyFieldId] as KeyColumn, 0, firstRow, batch.rowCount);
  }

  /**
   * Replaces vectors by the same ones in other memory; the segment must not grow any more. Running reads keep the old ones.
   * @param values by chunk
   */
  moveVectors(fieldId: number, values: readonly DenseVectorColumn["values"][]): void {
    this.#chunks = this.#chunks.map((chunk, i) => {
      const { batch } = chunk;
      const column = { ...batch.columns[fieldId], values: values[i] } as DenseVectorColumn;
      return { ...chunk, batch: { ...batch, columns: { ...batch.columns, [fieldId]: column } } };
    });
  }

  /** Rows that have a key, deleted ones included, newest first, into `found` (cleared first). */
  findKey(keys: KeyColumn, row: number, found: number[]): void {
    found.length = 0;
    for (let hit = this.#keys.newest(keys, row, hashKey(keys, row)); hit >= 0; hit = this.#keys.olderThan(hit))
      found.push(hit);
  }

  /**
   * Marks the rows of these keys that are older than the delete. Idempotent; order does not matter.
   * @param hash hashKey of the key, for callers that delete it in many segments
   */
  delete(keys: KeyColumn, row: number, ts: bigint, hash = hashKey(keys, row)): void {
    for (let hit = this.#keys.newest(keys, row, hash); hit >= 0; hit = this.#keys.olderThan(hit)) {
      if (this.timestampOf(hit) >= ts) continue;
      // An earlier delete of this row also covered all older rows of its key: rewriting a key over and over costs no more each
      // time.
      if (!this.#markDeleted(hit, ts)) return;
    }
  }

  /** A snapshot of the rows that `delete` and `deleteRow` have marked. */
  deletedRows(): DeletedRows {
    const rows = new Int32Array(this.#deletedCount);
    const timestamps = new BigInt64Array(this.#deletedCount);
    let n = 0;
    for (const chunk of [...this.#deleted.keys()].sort((a, b) => a - b)) {
      const { bits, at } = this.#deleted.get(chunk)!;
      for (const row of bitsetRows(bits)) {
        rows[n] = chunk * CHUNK_ROWS + row;
        timestamps[n++] = at[row]!;
      }
    }
    return { rows, timestamps };
  }

  /** Marks one row as deleted at ts, which is greater than the row's own. */
  deleteRow(row: number, ts: bigint): void {
    this.#markDeleted(row, ts);
  }

  /** Whether some key has more than one row. */
  get hasRepeatedKeys(): boolean {
    return this.#keys.keyCount < this.#rowCount;
  }

  timestampOf(row: number): bigint {
    const chunk = row >>> 13;
    const open = this.#open;
    if (open !== undefined && row >= open.firstRow) return open.timestampOf(row - open.firstRow);
    return this.#chunks[chunk]!.timestamps[row & (CHUNK_ROWS - 1)]!;
  }

  /** Rows of a chunk that a read sees; null: all of them. The bitset is the caller's own. */
  visible(chunk: Chunk, { readTs, expiredTs = 0n }: Snapshot): Bitset | null {
    const { batch, timestamps, firstRow } = chunk;
    const deleted = this.#deleted.get(firstRow >>> 13);
    const end = rowsUpTo(timestamps, readTs);
    const start = timestamps.length === 0 || timestamps[0]! >= expiredTs ? 0 : rowsUpTo(timestamps, expiredTs - 1n);
    if (deleted === undefined && start === 0 && end === batch.rowCount) return null;
    const bits = newBitset(batch.rowCount);
    if (start >= end) return bits;
    bits.set(fullBitset(end));
    if (deleted !== undefined) {
      for (let i = 0; i < bits.length; i++) bits[i] = bits[i]! & ~deleted.bits[i]!;
      if (readTs < deleted.maxTs) reviveLaterDeletes(bits, deleted, end, readTs);
    }
    clearRowsBefore(bits, start);
    return bits;
  }

  /** False when an earlier delete covers the row. */
  #markDeleted(row: number, ts: bigint): boolean {
    let deleted = this.#deleted.get(row >>> 13);
    if (deleted === undefined) {
      deleted = { bits: newBitset(CHUNK_ROWS), at: new BigInt64Array(INITIAL_ROWS), maxTs: 0n };
      this.#deleted.set(row >>> 13, deleted);
      this.#deletesBytes += deleted.bits.byteLength + deleted.at.byteLength;
    }
    const at = row & (CHUNK_ROWS - 1);
    const isNew = !hasBit(deleted.bits, at);
    if (!isNew && deleted.at[at]! <= ts) return false;
    if (isNew) this.#deletedCount++;
    this.#deletesVersion++;
    if (ts > this.#lastDeleteTs) this.#lastDeleteTs = ts;
    if (at >= deleted.at.length) {
      this.#deletesBytes -= deleted.at.byteLength;
      deleted.at = grown(deleted.at, at + 1);
      this.#deletesBytes += deleted.at.byteLength;
    }
    deleted.at[at] = ts;
    if (ts > deleted.maxTs) deleted.maxTs = ts;
    setBit(deleted.bits, at);
    return true;
  }

  #completed(chunk: Chunk): Chunk {
    const batch = withDefaults(chunk.batch, this.#defaults);
    return batch === chunk.batch ? chunk : { ...chunk, batch };
  }

  #keyColumn(chunk: number): KeyColumn {
    const open = this.#open;
    if (open !== undefined && chunk === open.firstRow >>> 13) return open.keyView!;
    return this.#chunks[chunk]!.batch.columns[this.keyFieldId] as KeyColumn;
  }

  #refreshOpenKeys(): void {
    this.#open!.keyView = this.#open!.columnView(this.keyFieldId) as KeyColumn;
  }

  #refreshOpen(): void {
    const open = this.#open;
    if (open === undefined || open.viewedRows === open.rowCount) return;
    // A copy: running scans go on with the old list.
    this.#chunks = this.#chunks.slice();
    this.#chunks[open.firstRow >>> 13] = this.#completed(open.view());
  }
}

/** The chunk that still takes rows. */
class OpenChunk {
  readonly firstRow: number;
  readonly #builders = new Map<number, ColumnBuilder>();
  #timestamps = new BigInt64Array(INITIAL_ROWS);
  rowCount = 0;
  viewedRows = 0;
  keyView: KeyColumn | undefined;

  constructor(firstRow: number) {
    this.firstRow = firstRow;
  }

  /** @returns bytes of the zeros in place of vectors that the batch, or the rows before it, lack */
  append(batch: ColumnBatch, start: number, end: number, ts: bigint): number {
    let filled = 0;
    for (const [id, column] of Object.entries(batch.columns)) {
      if (!this.#builders.has(Number(id))) filled += this.rowCount * vectorBytes(column);
      this.#builder(Number(id), column).append(column, start, end);
    }
    for (const [id, builder] of this.#builders) {
      if (batch.columns[id] !== undefined) continue;
      builder.append(undefined, start, end);
      filled += (end - start) * vectorBytes(builder.sample);
    }
    this.#appendTimestamps(end - start, ts);
    this.rowCount += end - start;
    return filled;
  }

  columnView(fieldId: number): Column {
    return this.#builders.get(fieldId)!.view();
  }

  timestampOf(row: number): bigint {
    return this.#timestamps[row]!;
  }

  view(): Chunk {
    const columns: Record<number, Column> = {};
    for (const [id, builder] of this.#builders) columns[id] = builder.view();
    this.viewedRows = this.rowCount;
    return {
      firstRow: this.firstRow,
      batch: { rowCount: this.rowCount, columns },
      timestamps: this.#timestamps.subarray(0, this.rowCount),
    };
  }

  /** A field that appears late (added to the schema) is null in the rows before. */
  #builder(fieldId: number, sample: Column): ColumnBuilder {
    let builder = this.#builders.get(fieldId);
    if (builder === undefined) {
      builder = new ColumnBuilder(sample, INITIAL_ROWS);
      if (this.rowCount > 0) builder.append(undefined, 0, this.rowCount);
      this.#builders.set(fieldId, builder);
    }
    return builder;
  }

  #appendTimestamps(count: number, ts: bigint): void {
    const needed = this.rowCount + count;
    if (needed > this.#timestamps.length) this.#timestamps = grown(this.#timestamps, needed);
    this.#timestamps.fill(ts, this.rowCount, needed);
  }
}

/** Bytes of a row's vector; 0 if it is not a dense vector. */
function vectorBytes(column: Column): number {
  return "dimension" in column ? rowWidth(column) * column.values.BYTES_PER_ELEMENT : 0;
}

/** A delete after the snapshot does not count in it. */
function reviveLaterDeletes(bits: Bitset, { bits: deleted, at }: ChunkDeletes, prefix: number, readTs: bigint): void {
  for (const row of bitsetRows(deleted)) {
    if (row >= prefix) return;
    if (at[row]! > readTs) setBit(bits, row);
  }
}

function grown(values: BigInt64Array, needed: number): BigInt64Array<ArrayBuffer> {
  const larger = new BigInt64Array(Math.max(needed, values.length * 2));
  larger.set(values);
  return larger;
}

function clearRowsBefore(bits: Bitset, row: number): void {
  bits.fill(0, 0, row >>> 5);
  if ((row & 31) !== 0) bits[row >>> 5] = bits[row >>> 5]! & (-1 << (row & 31));
}

/** How many of ascending timestamps are <= ts. */
export function rowsUpTo(timestamps: BigInt64Array, ts: bigint): number {
  if (timestamps.length === 0 || timestamps[timestamps.length - 1]! <= ts) return timestamps.length;
  let low = 0;
  let high = timestamps.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (timestamps[middle]! <= ts) low = middle + 1;
    else high = middle;
  }
  return low;
}
