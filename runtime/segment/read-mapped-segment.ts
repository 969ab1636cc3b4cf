/**
 * A segment from a local file whose dense vectors stay in the file: the other columns are copied, chunk by chunk, and the
 * vectors are views of the mapped file, which only threads of an engine may read (ann/engine.ts, `MappedEngine`).
 */
import { type FileHandle, open } from "node:fs/promises";
import type { Clock } from "../clock.ts";
import { VdbError } from "../errors.ts";
import type { FieldSchema } from "../schema.ts";
import { type ReadableFile, readSegmentChunks } from "./arrow-file.ts";
import type { Column, ColumnBatch, DenseVectorColumn } from "./column.ts";
import { type FilePart, findVectors } from "./find-vectors.ts";
import { batchBytes } from "./gather.ts";
import { type SegmentFacts, segmentOfChunks } from "./read-segment.ts";
import type { Segment } from "./segment.ts";

type Values = DenseVectorColumn["values"];

export interface MappedSegment {
  readonly segment: Segment;
  /** Of the columns that were copied, and the timestamps. */
  readonly bytes: number;
  /** By field: where the vectors of each chunk lie in the file. */
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
    vectors.set(fieldId, parts);
  }
  let bytes = 0;
  async function* chunks() {
    let number = 0;
    const rest = withoutParts(file, [...vectors.values()].flat());
    for await (const { batch, timestamps } of readSegmentChunks(rest)) {
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

/** The same, copied to memory without the event loop's waiting for the disk. @throws VdbError corrupt */
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

/** The file with nothing where the parts lie: they are most of it, and what is read of them would be thrown away. */
function withoutParts(file: FileHandle, parts: readonly FilePart[]): ReadableFile {
  const sorted = [...parts].sort((a, b) => a.offset - b.offset);
  return {
    fd: file.fd,
    stat: () => file.stat(),
    // Who opened it closes it.
    close: async () => undefined,
    async read(buffer, offset, length, position) {
      const end = position + length;
      let at = position;
      const readTo = async (to: number): Promise<boolean> => {
        while (at < to) {
          const { bytesRead } = await file.read(buffer, offset + at - position, to - at, at);
          if (bytesRead === 0) return false;
          at += bytesRead;
        }
        return true;
      };
      for (const part of sorted) {
        if (part.offset + part.bytes <= at || part.offset >= end) continue;
        if (!(await readTo(part.offset))) return { bytesRead: at - position, buffer };
        at = Math.min(end, part.offset + part.bytes);
      }
      await readTo(end);
      return { bytesRead: at - position, buffer };
    },
  };
}

async function readPart(file: FileHandle, { offset, bytes }: FilePart): Promise<Uint8Array<ArrayBuffer>> {
  const buffer = new Uint8Array(bytes);
  for (let at = 0; at < bytes; ) {
    const { bytesRead } = await file.read(buffer, at, bytes - at, offset + at);
    if (bytesRead === 0) throw new VdbError("corrupt", "a segment file ends too early");
    at += bytesRead;
  }
  return buffer;
}

/** Copied after all where it does not lie as an array of numbers must: other writers may lay it down so. */
function mappedValues({ kind }: DenseVectorColumn, mapped: ArrayBuffer, { offset, bytes }: FilePart): Values {
  if (kind !== "floatVector") return new Uint8Array(mapped, offset, bytes);
  if (offset % 4 === 0) return new Float32Array(mapped, offset, bytes / 4);
  return new Float32Array(mapped.slice(offset, offset + bytes));
}

/** In memory of its own: a view would keep all of its chunk's. */
function copyOf<C extends Column>(column: C): C {
  const copy = { ...column } as Record<string, unknown>;
  for (const [name, value] of Object.entries(column)) {
    if (ArrayBuffer.isView(value)) copy[name] = (value as Uint8Array).slice();
    else if (name === "items") copy[name] = copyOf(value as Column);
  }
  return copy as C;
}
