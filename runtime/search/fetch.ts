/** Fetches columns of rows by reference: the second step of a search that asks for fields, only for its final hits. */
import { VdbError } from "../errors.ts";
import type { RowRefs } from "../protocol/values.ts";
import type { ColumnBatch } from "../segment/column.ts";
import { gatherRows, type RowPick } from "../segment/gather.ts";
import { CHUNK_ROWS, type Segment } from "../segment/segment.ts";

/** In the order of refs. @throws VdbError segment_not_loaded */
export function fetchFromSegments(
  segmentOf: (segmentId: string) => Segment | undefined,
  refs: RowRefs,
  fieldIds: readonly number[],
): ColumnBatch {
  const batches: ColumnBatch[] = [];
  const firstBatch = new Map<number, number>();
  const pick: RowPick = { sources: new Uint32Array(refs.row.length), rows: new Uint32Array(refs.row.length) };
  for (let i = 0; i < refs.row.length; i++) {
    const at = refs.segment[i]!;
    let first = firstBatch.get(at);
    if (first === undefined) {
      const segmentId = refs.segments[at]!;
      const segment = segmentOf(segmentId);
      if (segment === undefined) throw new VdbError("segment_not_loaded", `segment ${segmentId} is not loaded here`);
      first = batches.length;
      firstBatch.set(at, first);
      for (const { batch } of segment.chunks) batches.push(batch);
    }
    pick.sources[i] = first + (refs.row[i]! >>> 13);
    pick.rows[i] = refs.row[i]! & (CHUNK_ROWS - 1);
  }
  return gatherRows(batches, pick, fieldIds);
}
