/**
 * Layout by a clustering key: the live rows of some segments of one partition become segments that each hold a range of
 * a field's values, so that a read with a filter on that field skips most of them. Inside a segment rows stay in the
 * order of time.
 *
 * However large the inputs are together, memory holds about twice the target. They are read twice: one after the other
 * for a sample of the values, from which the ranges are made; then as many at a time as there is room for, whose rows
 * are written as *runs*, one for each range. Finally the runs of each range are merged, as any segments are. Runs are
 * objects that no manifest ever names: they are collected as garbage when the job is over.
 */
import { byTime } from "../../runtime/meta/manifest.ts";
import type { SegmentDoc } from "../../runtime/protocol/catalog.ts";
import type { CompactSegments } from "../../runtime/protocol/data.ts";
import type { CollectionSchema } from "../../runtime/schema.ts";
import type { ColumnBatch } from "../../runtime/segment/column.ts";
import type { DeletedKeys } from "../../runtime/segment/delete-files.ts";
import { takeTurn } from "../../runtime/turns.ts";
import type { JobTools } from "./job-inputs.ts";
import { type Boundary, type ClusteringColumn, KeySample, splitRows } from "./key-ranges.ts";
import { type Gone, Inputs, type Piece } from "./merge-inputs.ts";
import { writeSegments } from "./write-segments.ts";

/** What a range is to fill of the target: its size is guessed from a sample, and a rest would be a small segment. */
const FILL = 0.8;

/** Of a range, listed together. */
const BLOCK_ROWS = 8192;

/** In memory at once, as often as the target: what a merge has. */
const ROOM_TARGETS = 2;

type Job = CompactSegments & { clusterBy: number };

type InputChunk = Omit<Piece, "rows">;

/** `purgedTs`: the newest timestamp at which a row was taken away; 0: none was. */
export async function clusteredSegments(
  tools: JobTools,
  schema: CollectionSchema,
  job: Job,
  deltas: readonly DeletedKeys[],
): Promise<{ segments: SegmentDoc[]; purgedTs: bigint }> {
  const gone: Gone = { deltas, expiry: job.expiry };
  const { clusterBy, targetBytes } = job;
  const isOne = bytesOf(job.segments) <= FILL * targetBytes;
  const boundaries = isOne ? [] : await boundariesOf(tools, schema, job, gone);
  const segments: SegmentDoc[] = [];
  const enter = async (pieces: AsyncIterable<Piece>) => {
    for (const made of await writeSegments(tools, schema, job, pieces))
      segments.push({ ...made, clusteredBy: clusterBy });
  };
  const room = ROOM_TARGETS * targetBytes;
  const batches = inBatches(job.segments, room);
  if (boundaries.length === 0 && batches.length === 1) {
    const inputs = new Inputs(tools, schema, job.segments, gone);
    await enter(inputs.pieces());
    return { segments, purgedTs: inputs.purgedTs };
  }
  let purgedTs = 0n;
  const runs: SegmentDoc[][] = [...boundaries, null].map(() => []);
  for (const batch of batches) {
    const inputs = new Inputs(tools, schema, batch, gone);
    const parts = await splitPieces(tools, inputs.pieces(), clusterBy, boundaries);
    for (const [range, pieces] of parts.entries()) {
      runs[range]!.push(...(await writeSegments(tools, schema, job, pieces)));
    }
    if (inputs.purgedTs > purgedTs) purgedTs = inputs.purgedTs;
  }
  for (const ofRange of runs) {
    // One value may have more rows than there is room for.
    for (const batch of inBatches(ofRange, room)) await enter(new Inputs(tools, schema, batch).pieces());
  }
  return { segments, purgedTs };
}

/** Of as many ranges as the live rows need. */
async function boundariesOf(tools: JobTools, schema: CollectionSchema, job: Job, gone: Gone): Promise<Boundary[]> {
  const sample = new KeySample();
  let liveBytes = 0;
  for (const doc of job.segments) {
    let rows = 0;
    for await (const piece of new Inputs(tools, schema, [doc], gone).pieces()) {
      sample.add(columnOf(piece.batch, job.clusterBy), piece.rows);
      rows += piece.rows.length;
    }
    liveBytes += (doc.object.bytes * rows) / doc.rowCount;
  }
  return sample.boundaries(Math.ceil(liveBytes / (FILL * job.targetBytes)));
}

/** The rows of each range, in their order. The inputs that they are of stay in memory. */
async function splitPieces(
  { clock }: JobTools,
  pieces: AsyncIterable<Piece>,
  clusterBy: number,
  boundaries: readonly Boundary[],
): Promise<Iterable<Piece>[]> {
  const chunks: InputChunk[] = [];
  const sources = new Map<ColumnBatch, number>();
  const parts = [...boundaries, null].map(() => new RowList(chunks));
  for await (const { batch, rows: live, timestamps } of pieces) {
    const source = sources.get(batch) ?? chunks.push({ batch, timestamps }) - 1;
    sources.set(batch, source);
    const lists = splitRows(columnOf(batch, clusterBy), live, boundaries);
    for (const [range, rows] of lists.entries()) parts[range]!.add(source, rows);
    await takeTurn(clock);
  }
  return parts;
}

/** Rows of several chunks, eight bytes each: where inputs are of the same time, each piece of them is a row or two. */
class RowList implements Iterable<Piece> {
  readonly #chunks: readonly InputChunk[];
  readonly #blocks: { sources: Uint32Array; rows: Uint32Array }[] = [];
  /** Of the last block. */
  #used = BLOCK_ROWS;

  constructor(chunks: readonly InputChunk[]) {
    this.#chunks = chunks;
  }

  add(source: number, rows: Uint32Array): void {
    for (let start = 0; start < rows.length; ) {
      if (this.#used === BLOCK_ROWS) {
        this.#blocks.push({ sources: new Uint32Array(BLOCK_ROWS), rows: new Uint32Array(BLOCK_ROWS) });
        this.#used = 0;
      }
      const block = this.#blocks.at(-1)!;
      const part = rows.subarray(start, start + BLOCK_ROWS - this.#used);
      block.sources.fill(source, this.#used, this.#used + part.length);
      block.rows.set(part, this.#used);
      this.#used += part.length;
      start += part.length;
    }
  }

  *[Symbol.iterator](): Generator<Piece, void, undefined> {
    for (const [i, { sources, rows }] of this.#blocks.entries()) {
      const count = i === this.#blocks.length - 1 ? this.#used : BLOCK_ROWS;
      for (let start = 0, end = 0; start < count; start = end) {
        while (end < count && sources[end] === sources[start]) end++;
        yield { ...this.#chunks[sources[start]!]!, rows: rows.subarray(start, end) };
      }
    }
  }
}

/** Segments by time, in batches of so many bytes; one that is larger alone. */
function inBatches(segments: readonly SegmentDoc[], room: number): SegmentDoc[][] {
  const batches: SegmentDoc[][] = [];
  let left = 0;
  for (const segment of byTime(segments)) {
    if (batches.length === 0 || segment.object.bytes > left) {
      batches.push([]);
      left = room;
    }
    batches.at(-1)!.push(segment);
    left -= segment.object.bytes;
  }
  return batches;
}

function columnOf(batch: ColumnBatch, fieldId: number): ClusteringColumn | undefined {
  return batch.columns[fieldId] as ClusteringColumn | undefined;
}

function bytesOf(segments: readonly SegmentDoc[]): number {
  return segments.reduce((sum, { object }) => sum + object.bytes, 0);
}
