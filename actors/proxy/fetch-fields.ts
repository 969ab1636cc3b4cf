/** Columns of the final hits, from the shards that found them. */

import type { ActorContext } from "../../runtime/actor.ts";
import type { Call } from "../../runtime/bus/bus.ts";
import { append } from "../../runtime/lists.ts";
import type { CollectionDoc } from "../../runtime/protocol/catalog.ts";
import { fetchRows } from "../../runtime/protocol/streaming.ts";
import type { RowRefs, SearchHits } from "../../runtime/protocol/values.ts";
import type { ColumnBatch } from "../../runtime/segment/column.ts";
import { gatherRows, type RowPick } from "../../runtime/segment/gather.ts";
import { askOwner } from "./ask-owner.ts";

export interface FieldFetch {
  hits: SearchHits;
  /** Segment id to its shard's place in the collection. */
  shardOf: ReadonlyMap<string, number>;
  fieldIds: number[];
}

/** In the order of the hits. @throws VdbError segment_not_loaded when rows are no longer where the search found them */
export async function fetchFields(
  actor: ActorContext,
  collection: CollectionDoc,
  fetch: FieldFetch,
  call: Call,
): Promise<ColumnBatch> {
  const { fieldIds, hits } = fetch;
  const split = splitRefs(fetch);
  const batches = await Promise.all(
    split.refs.map(async (refs, i) => {
      const shard = collection.shards[split.shards[i]!]!;
      const request = { collectionId: collection.collectionId, vchannel: shard.vchannel, refs, fieldIds };
      const target = { collection, shard, final: ["segment_not_loaded" as const] };
      return (await askOwner(actor, fetchRows, target, request, call)).batch;
    }),
  );
  if (batches.length === 0) return { rowCount: hits.distances.length, columns: {} };
  return batches.length === 1 ? batches[0]! : gatherRows(batches, split.pick, fieldIds);
}

interface SplitRefs {
  /** The shards that have hits, by their place in the collection. */
  shards: number[];
  /** Their hits, each in the order of all hits. */
  refs: RowRefs[];
  /** Where in the shards' answers each hit is. */
  pick: RowPick;
}

function splitRefs({ shardOf: shardOfSegment, hits }: FieldFetch): SplitRefs {
  const { segments, segment, row } = hits.refs;
  const shardOf = segments.map((segmentId) => shardOfSegment.get(segmentId)!);
  const rowsOfShard = new Map<number, number[]>();
  for (let i = 0; i < row.length; i++) {
    const shard = shardOf[segment[i]!]!;
    append(rowsOfShard, shard, i);
  }
  const shards = [...rowsOfShard.keys()];
  const pick: RowPick = { sources: new Uint32Array(row.length), rows: new Uint32Array(row.length) };
  const refs = shards.map((shard, source) => {
    const rows = rowsOfShard.get(shard)!;
    rows.forEach((i, n) => {
      pick.sources[i] = source;
      pick.rows[i] = n;
    });
    return shardRefs(hits.refs, rows);
  });
  return { shards, refs, pick };
}

/** Only the segments that the rows are in are named: a node must not look for others. */
function shardRefs(all: RowRefs, rows: readonly number[]): RowRefs {
  const used = [...new Set(rows.map((i) => all.segment[i]!))];
  const placeOf = new Map(used.map((segment, place) => [segment, place]));
  return {
    segments: used.map((segment) => all.segments[segment]!),
    segment: Uint32Array.from(rows, (i) => placeOf.get(all.segment[i]!)!),
    row: Uint32Array.from(rows, (i) => all.row[i]!),
  };
}
