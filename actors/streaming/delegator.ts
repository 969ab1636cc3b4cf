/**
 * Reads of one shard, as its delegator answers them: the rows that are here and, in parallel, the sealed segments on
 * query nodes, reduced to one answer. A part that fails fails the read: part of the data is never given as the whole.
 */
import type { ActorContext } from "../../runtime/actor.ts";
import { askNode } from "../../runtime/ask-node.ts";
import type { AskOptions, Call } from "../../runtime/bus/bus.ts";
import { VdbError } from "../../runtime/errors.ts";
import { fetchSegmentRows, querySegments, searchSegments } from "../../runtime/protocol/query.ts";
import type { QueryShard, SearchShard } from "../../runtime/protocol/streaming.ts";
import type { FoundRows, RowRefs, SearchHits } from "../../runtime/protocol/values.ts";
import { fetchFromSegments } from "../../runtime/search/fetch.ts";
import { mergeRows } from "../../runtime/search/merge-rows.ts";
import { querySegment } from "../../runtime/search/query-segment.ts";
import { reduceHits } from "../../runtime/search/reduce.ts";
import { scanSegment } from "../../runtime/search/scan-segment.ts";
import { emptyHits } from "../../runtime/search/segment-hits.ts";
import type { ColumnBatch } from "../../runtime/segment/column.ts";
import { gatherRows } from "../../runtime/segment/gather.ts";
import type { Channel } from "./channel.ts";
import { chooseReplica, planRead } from "./plan-read.ts";
import type { Shard } from "./shard.ts";

export async function searchShardRows(
  ctx: ActorContext,
  channel: Channel,
  shard: Shard,
  request: SearchShard,
  call: Call,
): Promise<{ hits: SearchHits; readTs: bigint }> {
  await channel.ensureFresh(request.freshness);
  const { search, filter, collectionId, vchannel } = request;
  const { lastTs: readTs, mutSeq } = channel;
  const plan = planRead(ctx.catalog, shard, request.partitionIds);
  const remote = [...plan.remote].map(async ([nodeId, segmentIds]) => {
    const part = { collectionId, vchannel, segmentIds, readTs, mutSeq, search, filter };
    return (await askQueryNode(ctx, nodeId, call, (options) => ctx.bus.ask(searchSegments, { nodeId }, part, options)))
      .hits;
  });
  const local = plan.local.map((segment) => scanSegment(segment, search, { filter, readTs, clock: ctx.clock }));
  const parts = await Promise.all([...remote, ...local]);
  if (parts.length === 0) parts.push(emptyHits(search.queryCount, shard.keyKind));
  return { hits: reduceHits(parts, search.queryCount, search.topK, search.metric), readTs };
}

export async function queryShardRows(
  ctx: ActorContext,
  channel: Channel,
  shard: Shard,
  request: QueryShard,
  call: Call,
): Promise<{ count: number; rows: FoundRows | null; readTs: bigint }> {
  await channel.ensureFresh(request.freshness);
  const { collectionId, vchannel, filter, fieldIds, limit, countOnly } = request;
  const { lastTs: readTs, mutSeq } = channel;
  const plan = planRead(ctx.catalog, shard, request.partitionIds);
  const remote = [...plan.remote].map(([nodeId, segmentIds]) => {
    const part = { collectionId, vchannel, segmentIds, readTs, mutSeq, filter, fieldIds, limit, countOnly };
    return askQueryNode(ctx, nodeId, call, (options) => ctx.bus.ask(querySegments, { nodeId }, part, options));
  });
  const local = plan.local.map((segment) =>
    querySegment(segment, { filter, fieldIds, limit, countOnly, readTs, clock: ctx.clock }),
  );
  const parts = await Promise.all([...remote, ...local]);
  const count = parts.reduce((sum, part) => sum + part.count, 0);
  const found = parts.flatMap(({ rows }) => (rows === null ? [] : [rows]));
  return { count, rows: found.length === 0 ? null : mergeRows(found, fieldIds, limit), readTs };
}

/** Columns of the rows that a search found, in the order of refs. Rows stay where their segment is, here or by the view. */
export async function fetchShardRows(
  ctx: ActorContext,
  shard: Shard,
  request: { collectionId: number; refs: RowRefs; fieldIds: number[] },
  call: Call,
): Promise<ColumnBatch> {
  const { collectionId, refs, fieldIds } = request;
  const local = new Map(shard.localSegments().map((segment) => [segment.segmentId, segment]));
  const view = ctx.catalog.view(shard.vchannel)?.segments ?? {};
  const nodeOf = refs.segments.map((segmentId) => {
    if (local.has(segmentId)) return "";
    const nodeId = chooseReplica(view[segmentId] ?? []);
    if (nodeId === undefined)
      throw new VdbError("segment_not_loaded", `segment ${segmentId} is served by nobody any more`);
    return nodeId;
  });
  const sources = [...new Set(nodeOf)];
  const batches = await Promise.all(
    sources.map(async (nodeId) => {
      const part = refsOf(refs, (segment) => nodeOf[segment] === nodeId);
      if (nodeId === "") return fetchFromSegments((segmentId) => local.get(segmentId), part, fieldIds);
      const request = { collectionId, refs: part, fieldIds };
      return (
        await askQueryNode(ctx, nodeId, call, (options) => ctx.bus.ask(fetchSegmentRows, { nodeId }, request, options))
      ).batch;
    }),
  );
  if (batches.length === 1) return batches[0]!;
  // Each source answered its rows in order: walk the refs and take the next row of the source that each came from.
  const next = sources.map(() => 0);
  const pick = { sources: new Uint32Array(refs.row.length), rows: new Uint32Array(refs.row.length) };
  for (let i = 0; i < refs.row.length; i++) {
    const source = sources.indexOf(nodeOf[refs.segment[i]!]!);
    pick.sources[i] = source;
    pick.rows[i] = next[source]!++;
  }
  return gatherRows(batches, pick, fieldIds);
}

function refsOf(refs: RowRefs, isWanted: (segment: number) => boolean): RowRefs {
  const at = Array.from(refs.segment.keys()).filter((i) => isWanted(refs.segment[i]!));
  return {
    segments: refs.segments,
    segment: Uint32Array.from(at, (i) => refs.segment[i]!),
    row: Uint32Array.from(at, (i) => refs.row[i]!),
  };
}

function askQueryNode<T>(
  ctx: ActorContext,
  nodeId: string,
  { deadline, signal }: Call,
  ask: (options: AskOptions) => Promise<T>,
): Promise<T> {
  return askNode(ctx.nodes, { role: "query", nodeId }, signal, (given) => ask({ deadline, signal: given }));
}
