/**
 * Reads a segment from a local file, leaving dense vectors in the file: the other columns are copied, chunk by chunk, and the
 * vectors are views of the mapped file, which only threads of an engine may read (ann/engine.ts, `MappedEngine`). A thread
 * reads from the disk beforehand what the event loop copies from the mapped file.
 */
import { type FileHandle, open } from "node:fs/promises";
import type { Clock } from "../clock.ts";
import type { FieldSchema } from "../schema.ts";
import { readSegmentChunks } from "./arrow-file.ts";
import type { Column, ColumnBatch, DenseVectorColumn } from "./column.ts";
import { type FilePart, findVectors, readFully } from "./find-vectors.ts";
import { batchBytes } from "./gather.ts";
import { type SegmentFacts, segmentOfChunks } from "./read-segment.ts";
import type { Segment } from "./segment.ts";

type Values = DenseVectorColumn["values"];

const SCRATCH_BYTES = 1 << 18;

export interface MappedSegment {
  readonly segment: Segment;
  /** Bytes of the copied columns and the timestamps. */
  readonly bytes: number;
  /** By field: the positions of each chunk's vectors in the file. Fields newer than the file are missing. */
  readonly vectors: ReadonlyMap<number, readonly FilePart[]>;
}

/**
 * @param vectorFieldIds fields of dense vectors @param mapped the whole file
 * @throws VdbError corrupt
 */
export async function readMappedSegment(
  doc: SegmentFacts,
  key: FieldSchema,
  vectorFieldIds: readonly number[],
  { path, mapped }: { path: string; mapped: ArrayBuffer },
  clock: Clock,
): Promise<MappedSegment> {
  await using file = await open(path, "r");
  const vectors = new Map<number, readonly FilePart[]>();
  for (const fieldId of vectorFieldIds) {
    const { parts } = await findVectors(path, fieldId);
    if (parts.length > 0) vectors.set(fieldId, parts);
  }
  let bytes = 0;
  async function* chunks() {
    let number = 0;
    const parts = [...vectors.values()];
    const { read, size } = await readerOfRest(file, parts.flat());
    // Everything of earlier chunks ends before the first vectors of a chunk.
    const firstOf = (chunk: number) => Math.min(size, ...parts.map((of) => of[chunk]?.offset ?? size));
    const footerAt = Math.max(0, ...parts.map((of) => of.at(-1)!.offset));
    await read(footerAt, size);
    await read(0, firstOf(1));
    for (const { batch, timestamps } of readSegmentChunks(new Uint8Array(mapped))) {
      if (batch.rowCount === 0) continue;
      const columns: Record<number, Column> = {};
      const copied: ColumnBatch = { rowCount: batch.rowCount, columns: {} };
      for (const [id, column] of Object.entries(batch.columns)) {
        const part = vectors.get(Number(id))?.[number];
        if (part === undefined || !("dimension" in column)) copied.columns[Number(id)] = copyOf(column);
        else columns[Number(id)] = { ...column, values: mappedValues(column, mapped, part) } as DenseVectorColumn;
      }
      bytes += batchBytes(copied) + timestamps.byteLength;
      number++;
      yield {
        batch: { rowCount: batch.rowCount, columns: { ...columns, ...copied.columns } },
        timestamps: timestamps.slice(),
      };
      await read(firstOf(number), firstOf(number + 1));
    }
  }
  const segment = await segmentOfChunks(doc, key, chunks(), clock);
  return { segment, bytes, vectors };
}

/** Vectors of a field, by chunk, as they lie in the mapped file. */
export function mappedVectors(
  segment: Segment,
  fieldId: number,
  mapped: ArrayBuffer,
  parts: readonly FilePart[],
): Values[] {
  return segment.chunks.map(({ batch }, i) =>
    mappedValues(batch.columns[fieldId] as DenseVectorColumn, mapped, parts[i]!),
  );
}

/** The same, copied to memory, without letting the event loop wait for the disk. @throws VdbError corrupt */
export async function copiedVectors(
  segment: Segment,
  fieldId: number,
  path: string,
  parts: readonly FilePart[],
): Promise<Values[]> {
  await using file = await open(path, "r");
  const copies: Values[] = [];
  for (const [i, { batch }] of segment.chunks.entries()) {
    const { kind } = batch.columns[fieldId] as DenseVectorColumn;
    const bytes = await readPart(file, parts[i]!);
    copies.push(kind === "floatVector" ? new Float32Array(bytes.buffer) : bytes);
  }
  return copies;
}

/** Reads a file into the page cache, except its `parts`: they are most of it, and may be larger than memory. */
async function readerOfRest(
  file: FileHandle,
  parts: readonly FilePart[],
): Promise<{ read(from: number, to: number): Promise<void>; size: number }> {
  const { size } = await file.stat();
  const sorted = [...parts].sort((a, b) => a.offset - b.offset);
  const scratch = Buffer.allocUnsafe(SCRATCH_BYTES);
  const readTo = async (from: number, to: number) => {
    for (let at = from; at < to; at += SCRATCH_BYTES) {
      await readFully(file, scratch.subarray(0, Math.min(SCRATCH_BYTES, to - at)), at);
    }
  };
  return {
    size,
    async read(from, to) {
      let at = from;
      for (const { offset, bytes } of sorted) {
        if (offset + bytes <= at || offset >= to) continue;
        await readTo(at, offset);
        at = offset + bytes;
      }
      await readTo(at, to);
    },
  };
}

async function readPart(file: FileHandle, { offset, bytes }: FilePart): Promise<Uint8Array<ArrayBuffer>> {
  // All of it gets written: zeroing would only take time.
  const buffer = new Uint8Array(Buffer.allocUnsafeSlow(bytes).buffer);
  await readFully(file, buffer, offset);
  return buffer;
}

/** Copied if it is not aligned as an array of numbers must be, which files of other writers may not be. */
function mappedValues({ kind }: DenseVectorColumn, mapped: ArrayBuffer, { offset, bytes }: FilePart): Values {
  if (kind !== "floatVector") return new Uint8Array(mapped, offset, bytes);
  if (offset % 4 === 0) return new Float32Array(mapped, offset, bytes / 4);
  return new Float32Array(mapped.slice(offset, offset + bytes));
}

/** In its own memory: a view would keep that of the whole chunk. */
function copyOf<C extends Column>(column: C): C {
  const copy = { ...column } as Record<string, unknown>;
  for (const [name, value] of Object.entries(column)) {
    if (ArrayBuffer.isView(value)) copy[name] = (value as Uint8Array).slice();
    else if (name === "items") copy[name] = copyOf(value as Column);
  }
  return copy as C;
}
