/**
 * Reads of one shard, as its delegator answers them: the rows that are here and, in parallel, the sealed segments on
 * query nodes (sealed-reads.ts), reduced to one answer. A part that fails fails the read: part of the data is never
 * given as the whole. All parts see one snapshot, also one that was asked of several nodes in turn.
 */
import type { ActorContext } from "../../runtime/actor.ts";
import type { Call } from "../../runtime/bus/bus.ts";
import { VdbError } from "../../runtime/errors.ts";
import { fetchSegmentRows, querySegments, searchSegments } from "../../runtime/protocol/query.ts";
import type { QueryShard, SearchShard } from "../../runtime/protocol/streaming.ts";
import type { RowRefs, SearchHits } from "../../runtime/protocol/values.ts";
import { fetchFromSegments } from "../../runtime/search/fetch.ts";
import { mergeAnswers } from "../../runtime/search/merge-answers.ts";
import { newestInOrder } from "../../runtime/search/newest-in-order.ts";
import { type Answer, querySegment } from "../../runtime/search/query-segment.ts";
import { reduceInTurns } from "../../runtime/search/reduce-in-turns.ts";
import { emptyHits } from "../../runtime/search/segment-hits.ts";
import { searchSegment } from "../../runtime/search/segment-search.ts";
import type { ColumnBatch } from "../../runtime/segment/column.ts";
import { defaultsOf } from "../../runtime/segment/default-columns.ts";
import { gatherRows } from "../../runtime/segment/gather.ts";
import type { Channel } from "./channel.ts";
import type { GrowingIndexes } from "./growing-indexes.ts";
import { openRead } from "./open-read.ts";
import type { SealedReads } from "./sealed-reads.ts";
import type { Shard } from "./shard.ts";

/** What reads a shard: the delegator's state beside the shard itself. */
export interface Reader {
  ctx: ActorContext;
  growing: GrowingIndexes;
  sealed: SealedReads;
}

export async function searchShardRows(
  { ctx, growing, sealed }: Reader,
  channel: Channel,
  shard: Shard,
  request: SearchShard,
  call: Call,
): Promise<{ hits: SearchHits; readTs: bigint }> {
  const { plan, snapshot, mutSeq } = await openRead(ctx, channel, shard, request, call);
  const { search, filter, collectionId, vchannel } = request;
  const part = { collectionId, vchannel, ...snapshot, mutSeq, search, filter };
  const remote = sealed.read(
    {
      kind: "search",
      vchannel,
      segmentIds: plan.remote,
      skipped: plan.skipped,
      size: search.queryCount,
      ask: (nodeId, segmentIds, options) => ctx.bus.ask(searchSegments, { nodeId }, { segmentIds, ...part }, options),
    },
    call,
  );
  const { indexes = [] } = ctx.catalog.collection(collectionId) ?? {};
  const mayApproximate = indexes.some(({ fieldId, type }) => fieldId === search.fieldId && type !== "FLAT");
  const options = { clock: ctx.clock, deadline: call.deadline, mayApproximate, ...snapshot };
  const local = plan.local.map((segment) =>
    searchSegment(
      segment,
      search,
      filter,
      (asked, allowed) => growing.search(segment, asked, { filter: allowed, ...options }),
      ctx.clock,
    ),
  );
  const [found, ...parts] = await Promise.all([remote, ...local]);
  for (const { reply } of found) parts.push(reply.hits);
  if (parts.length === 0) parts.push(emptyHits(search.queryCount, shard.keyKind));
  return { hits: await reduceInTurns(parts, search, ctx.clock), readTs: snapshot.readTs };
}

export async function queryShardRows(
  { ctx, sealed }: Reader,
  channel: Channel,
  shard: Shard,
  request: QueryShard,
  call: Call,
): Promise<Answer & { readTs: bigint }> {
  const { plan, snapshot, mutSeq } = await openRead(ctx, channel, shard, request, call);
  const { collectionId, vchannel, freshness: _, partitionIds: __, readTs: ___, ...asked } = request;
  const ask = async (question: typeof asked): Promise<Answer> => {
    const part = { collectionId, vchannel, ...snapshot, mutSeq, ...question };
    const remote = sealed.read(
      {
        kind: "query",
        vchannel,
        segmentIds: plan.remote,
        skipped: plan.skipped,
        size: 1,
        ask: (nodeId, segmentIds, options) => ctx.bus.ask(querySegments, { nodeId }, { segmentIds, ...part }, options),
      },
      call,
    );
    const local = plan.local.map((segment) => querySegment(segment, { ...question, ...snapshot, clock: ctx.clock }));
    const [answers, ...parts] = await Promise.all([remote, ...local]);
    for (const { reply } of answers) parts.push(reply);
    return mergeAnswers(parts, question, ctx.clock);
  };
  const isOne = plan.local.length + plan.remote.length <= 1;
  const answer = isOne ? await ask(asked) : await newestInOrder(asked, shard.keyFieldId, ask, ctx.clock);
  return { readTs: snapshot.readTs, ...answer };
}

/** Columns of the rows that a search found, in the order of refs. Rows stay where their segment is, here or by the view. */
export async function fetchShardRows(
  { ctx, sealed }: Reader,
  shard: Shard,
  request: { collectionId: number; refs: RowRefs; fieldIds: number[] },
  call: Call,
): Promise<ColumnBatch> {
  const { collectionId, refs, fieldIds } = request;
  const { vchannel } = shard;
  const schema = ctx.catalog.collection(collectionId)?.schema;
  const local = new Map(shard.localSegments().map((segment) => [segment.segmentId, segment]));
  for (const segment of local.values()) if (schema !== undefined) segment.complete(defaultsOf(schema));
  const view = ctx.catalog.view(vchannel)?.segments ?? {};
  const remote = refs.segments.filter((segmentId) => !local.has(segmentId));
  const gone = remote.find((segmentId) => view[segmentId] === undefined);
  if (gone !== undefined) throw new VdbError("segment_not_loaded", `segment ${gone} is served by nobody any more`);
  const parts = await sealed.read(
    {
      kind: "fetch",
      vchannel,
      segmentIds: remote,
      size: refs.row.length,
      ask: async (nodeId, segmentIds, options) => {
        const part = refsOf(refs, new Set(segmentIds));
        const asked = { collectionId, refs: part, fieldIds, schemaVersion: schema?.version };
        return (await ctx.bus.ask(fetchSegmentRows, { nodeId }, asked, options)).batch;
      },
    },
    call,
  );
  const batches = parts.map(({ reply }) => reply);
  const sourceOf = new Map<string, number>();
  parts.forEach(({ segmentIds }, source) => {
    for (const segmentId of segmentIds) sourceOf.set(segmentId, source);
  });
  if (remote.length < refs.segments.length) {
    const here = new Set(refs.segments.filter((segmentId) => local.has(segmentId)));
    for (const segmentId of here) sourceOf.set(segmentId, batches.length);
    batches.push(fetchFromSegments((segmentId) => local.get(segmentId), refsOf(refs, here), fieldIds));
  }
  if (batches.length === 1) return batches[0]!;
  // Each source answered its rows in order: walk the refs and take the next row of the source that each came from.
  const sourceOfSegment = refs.segments.map((segmentId) => sourceOf.get(segmentId)!);
  const next = batches.map(() => 0);
  const pick = { sources: new Uint32Array(refs.row.length), rows: new Uint32Array(refs.row.length) };
  for (let i = 0; i < refs.row.length; i++) {
    const source = sourceOfSegment[refs.segment[i]!]!;
    pick.sources[i] = source;
    pick.rows[i] = next[source]!++;
  }
  return gatherRows(batches, pick, fieldIds);
}

function refsOf({ segments, segment, row }: RowRefs, wanted: ReadonlySet<string>): RowRefs {
  const isWanted = segments.map((segmentId) => wanted.has(segmentId));
  const at = Array.from(segment.keys()).filter((i) => isWanted[segment[i]!]);
  return {
    segments,
    segment: Uint32Array.from(at, (i) => segment[i]!),
    row: Uint32Array.from(at, (i) => row[i]!),
  };
}
