/** Rows of mapped vectors that the event loop is about to copy: an engine's threads read them first, and wait for the disk. */
import type { MappedEngine, MappedRows } from "../../runtime/ann/engine.ts";
import type { RowRefs } from "../../runtime/protocol/values.ts";
import { type DenseVectorColumn, rowWidth } from "../../runtime/segment/column.ts";
import { CHUNK_ROWS } from "../../runtime/segment/segment.ts";
import type { LoadedSegment } from "./loaded-segments.ts";

interface Tools {
  mappedEngine?: MappedEngine | undefined;
  deadline: number;
}

/** @param rows of the segment */
export async function touchRows(
  { mappedEngine, deadline }: Tools,
  { segment, vectors }: LoadedSegment,
  rows: Uint32Array,
  fieldIds: readonly number[],
): Promise<void> {
  const mapped = fieldIds.filter((fieldId) => vectors.get(fieldId)?.isMapped === true);
  if (mappedEngine === undefined || mapped.length === 0 || rows.length === 0) return;
  const byChunk = new Map<number, number[]>();
  for (const row of rows) {
    const chunk = row >>> 13;
    const found = byChunk.get(chunk);
    if (found === undefined) byChunk.set(chunk, [row & (CHUNK_ROWS - 1)]);
    else found.push(row & (CHUNK_ROWS - 1));
  }
  const parts: MappedRows[] = [];
  for (const fieldId of mapped) {
    for (const [chunk, places] of byChunk) {
      const column = segment.chunks[chunk]!.batch.columns[fieldId] as DenseVectorColumn;
      const rowBytes = rowWidth(column) * column.values.BYTES_PER_ELEMENT;
      parts.push({ vectors: column.values, rowBytes, rows: Uint32Array.from(places) });
    }
  }
  await mappedEngine.touch(parts, deadline);
}

/** The same for rows given by reference, in whichever segments are here. */
export async function touchRefs(
  tools: Tools,
  find: (segmentId: string) => LoadedSegment | undefined,
  { segments, segment, row }: RowRefs,
  fieldIds: readonly number[],
): Promise<void> {
  const touched = segments.map(async (segmentId, at) => {
    const loaded = find(segmentId);
    if (loaded === undefined || loaded.vectors.size === 0) return;
    const rows = row.filter((_, i) => segment[i] === at);
    await touchRows(tools, loaded, rows, fieldIds);
  });
  await Promise.all(touched);
}
