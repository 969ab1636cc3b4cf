/**
 * Reads of one shard, as its delegator answers them: the rows that are here and, in parallel, the sealed segments on
 * query nodes (sealed-reads.ts), reduced to one answer. A part that fails fails the read: part of the data is never
 * given as the whole. All parts see one snapshot, also one that was asked of several nodes in turn.
 */
import type { ActorContext } from "../../runtime/actor.ts";
import { askLeader } from "../../runtime/ask-leader.ts";
import type { Call } from "../../runtime/bus/bus.ts";
import { VdbError } from "../../runtime/errors.ts";
import { allocateTimestamps } from "../../runtime/protocol/coordinator.ts";
import { fetchSegmentRows, querySegments, searchSegments } from "../../runtime/protocol/query.ts";
import type { QueryShard, SearchShard } from "../../runtime/protocol/streaming.ts";
import type { RowRefs, SearchHits } from "../../runtime/protocol/values.ts";
import { fetchFromSegments } from "../../runtime/search/fetch.ts";
import { mergeAnswers } from "../../runtime/search/merge-answers.ts";
import { type Answer, querySegment } from "../../runtime/search/query-segment.ts";
import { reduceSearch } from "../../runtime/search/reduce-groups.ts";
import { emptyHits } from "../../runtime/search/segment-hits.ts";
import { searchSegment } from "../../runtime/search/segment-search.ts";
import type { ColumnBatch } from "../../runtime/segment/column.ts";
import { defaultsOf } from "../../runtime/segment/default-columns.ts";
import { gatherRows } from "../../runtime/segment/gather.ts";
import type { Snapshot } from "../../runtime/segment/segment.ts";
import { msOfTimestamp, timestampOfMs } from "../../runtime/timestamps.ts";
import { expiredTs } from "../../runtime/ttl.ts";
import type { Channel } from "./channel.ts";
import type { GrowingIndexes } from "./growing-indexes.ts";
import { planRead } from "./plan-read.ts";
import type { SealedReads } from "./sealed-reads.ts";
import type { Shard } from "./shard.ts";

/** Clocks of nodes that differ by less do no harm. */
const TIMESTAMP_AHEAD_MS_MAX = 5_000;

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
  await channel.ensureFresh(request.freshness);
  const { search, filter, collectionId, vchannel } = request;
  const readTs = request.readTs === undefined ? channel.lastTs : await settled(ctx, channel, request.readTs, call);
  const { mutSeq } = channel;
  const plan = planRead(ctx.catalog, shard, request);
  refusePurged(ctx, vchannel, request.readTs);
  const snapshot = snapshotAt(ctx, collectionId, readTs);
  const part = { collectionId, vchannel, ...snapshot, mutSeq, search, filter };
  const remote = sealed.read(
    {
      kind: "search",
      vchannel,
      segmentIds: plan.remote,
      size: search.queryCount,
      ask: (nodeId, segmentIds, options) => ctx.bus.ask(searchSegments, { nodeId }, { ...part, segmentIds }, options),
    },
    call,
  );
  const { indexes = [] } = ctx.catalog.collection(collectionId) ?? {};
  const mayApproximate = indexes.some(({ fieldId, type }) => fieldId === search.fieldId && type !== "FLAT");
  const options = { ...snapshot, clock: ctx.clock, deadline: call.deadline, mayApproximate };
  const local = plan.local.map((segment) =>
    searchSegment(segment, search, filter, (asked, allowed) =>
      growing.search(segment, asked, { ...options, filter: allowed }),
    ),
  );
  const [found, ...parts] = await Promise.all([remote, ...local]);
  for (const { reply } of found) parts.push(reply.hits);
  if (parts.length === 0) parts.push(emptyHits(search.queryCount, shard.keyKind));
  return { hits: reduceSearch(parts, search), readTs };
}

export async function queryShardRows(
  { ctx, sealed }: Reader,
  channel: Channel,
  shard: Shard,
  request: QueryShard,
  call: Call,
): Promise<Answer & { readTs: bigint }> {
  await channel.ensureFresh(request.freshness);
  const { collectionId, vchannel, freshness: _, partitionIds: __, readTs: ___, ...asked } = request;
  const readTs = request.readTs === undefined ? channel.lastTs : await settled(ctx, channel, request.readTs, call);
  const { mutSeq } = channel;
  const plan = planRead(ctx.catalog, shard, request);
  refusePurged(ctx, vchannel, request.readTs);
  const snapshot = snapshotAt(ctx, collectionId, readTs);
  const part = { collectionId, vchannel, ...snapshot, mutSeq, ...asked };
  const remote = sealed.read(
    {
      kind: "query",
      vchannel,
      segmentIds: plan.remote,
      size: 1,
      ask: (nodeId, segmentIds, options) => ctx.bus.ask(querySegments, { nodeId }, { ...part, segmentIds }, options),
    },
    call,
  );
  const local = plan.local.map((segment) => querySegment(segment, { ...asked, ...snapshot, clock: ctx.clock }));
  const [answers, ...parts] = await Promise.all([remote, ...local]);
  for (const { reply } of answers) parts.push(reply);
  return { ...(await mergeAnswers(parts, request, ctx.clock)), readTs };
}

/**
 * The timestamp, once nothing up to it can come any more: a read at it is a snapshot then. For one that is ahead of all
 * that were given out, the read waits: settled at once, it would have the writes of everybody wait until it has passed.
 * @throws VdbError invalid_parameter for one from the future; deadline_exceeded
 */
export async function settled(ctx: ActorContext, channel: Channel, readTs: bigint, call: Call): Promise<bigint> {
  const { clock } = ctx;
  if (readTs <= channel.lastTs) return readTs;
  if (msOfTimestamp(readTs) > clock.now() + TIMESTAMP_AHEAD_MS_MAX) {
    throw new VdbError("invalid_parameter", `guarantee timestamp ${readTs} is in the future`);
  }
  const options = { deadline: call.deadline, ...(call.signal === undefined ? {} : { signal: call.signal }) };
  // By this clock it may have passed while the coordinator's is behind, so it is asked whenever the two may differ.
  while (msOfTimestamp(readTs) > clock.now() - TIMESTAMP_AHEAD_MS_MAX) {
    const { first } = await askLeader(ctx, allocateTimestamps, { count: 1 }, options);
    if (first > readTs) break;
    await clock.sleep(Math.max(1, msOfTimestamp(readTs) - msOfTimestamp(first)), call.signal);
  }
  await channel.settle(readTs);
  return readTs;
}

/** @throws VdbError invalid_parameter when the shard's segments do not tell any more what there was at the timestamp */
export function refusePurged({ catalog }: ActorContext, vchannel: string, readTs: bigint | undefined): void {
  const { purgedTs = 0n } = catalog.manifest(vchannel) ?? {};
  if (readTs === undefined || readTs >= purgedTs) return;
  throw new VdbError(
    "invalid_parameter",
    `the snapshot at timestamp ${readTs} is gone: rows deleted after it have been compacted away; begin again`,
  );
}

/** Rows age also where nothing is written: what has outlived its time is told by the clock, or by a read that is ahead of it. */
export function snapshotAt(
  { catalog, clock }: ActorContext,
  collectionId: number,
  readTs: bigint,
): Snapshot & { schemaVersion: number | undefined } {
  const collection = catalog.collection(collectionId);
  const nowTs = timestampOfMs(clock.now());
  const expired = collection === undefined ? undefined : expiredTs(collection, nowTs > readTs ? nowTs : readTs);
  const schemaVersion = collection?.schema.version;
  return { readTs, schemaVersion, ...(expired === undefined ? {} : { expiredTs: expired }) };
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
