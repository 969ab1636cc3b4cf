/**
 * Reads of one shard, as its delegator answers them: the rows that are here and, in parallel, the sealed segments on
 * query nodes (sealed-reads.ts), reduced to one answer. When a part fails, the read fails: a part of the data is never
 * passed off as the whole. All parts see one snapshot, even one that several nodes were asked for in turn.
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
import { searchSegment } from "../../runtime/search/search-segment.ts";
import { emptyHits } from "../../runtime/search/segment-hits.ts";
import type { ColumnBatch } from "../../runtime/segment/column.ts";
import { defaultsOf } from "../../runtime/segment/default-columns.ts";
import { gatherRows } from "../../runtime/segment/gather.ts";
import { workOf } from "../../runtime/turns.ts";
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
  const work = workOf(ctx, call);
  const options = { ...work, mayApproximate, ...snapshot };
  const local = plan.local.map((segment) =>
    searchSegment(
      segment,
      search,
      filter,
      (asked, allowed) => growing.search(segment, asked, { filter: allowed, ...options }),
      work,
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
    const local = plan.local.map((segment) =>
      querySegment(segment, { ...question, ...snapshot, ...workOf(ctx, call) }),
    );
    const [answers, ...parts] = await Promise.all([remote, ...local]);
    for (const { reply } of answers) parts.push(reply);
    return mergeAnswers(parts, question, ctx.clock);
  };
  const isOne = plan.local.length + plan.remote.length <= 1;
  const answer = isOne ? await ask(asked) : await newestInOrder(asked, shard.keyFieldId, ask, ctx.clock);
  return { readTs: snapshot.readTs, ...answer };
}

/** Rows that a search found, and which columns of them are wanted. */
interface FetchedRows {
  collectionId: number;
  refs: RowRefs;
  fieldIds: number[];
}

/** What was read in one place: rows of these segments. */
interface FetchSource {
  segmentIds: Iterable<string>;
  batch: ColumnBatch;
}

/** Columns of the rows that a search found, in the order of refs. Each row is read where its segment is: here, or where the view says. */
export async function fetchShardRows(
  reader: Reader,
  shard: Shard,
  request: FetchedRows,
  call: Call,
): Promise<ColumnBatch> {
  const { refs, fieldIds } = request;
  const schema = reader.ctx.catalog.collection(request.collectionId)?.schema;
  const local = new Map(shard.localSegments().map((segment) => [segment.segmentId, segment]));
  for (const segment of local.values()) if (schema !== undefined) segment.complete(defaultsOf(schema));
  const elsewhere = refs.segments.filter((segmentId) => !local.has(segmentId));
  const sources = await fetchSealedRows(reader, shard.vchannel, elsewhere, request, call);
  if (elsewhere.length < refs.segments.length) {
    const here = new Set(refs.segments.filter((segmentId) => local.has(segmentId)));
    const batch = fetchFromSegments((segmentId) => local.get(segmentId), refsOf(refs, here), fieldIds);
    sources.push({ segmentIds: here, batch });
  }
  return sources.length === 1 ? sources[0]!.batch : inOrderOf(refs, sources, fieldIds);
}

/** Asks the query nodes that the view names. @throws VdbError segment_not_loaded when it names none for a segment */
async function fetchSealedRows(
  { ctx, sealed }: Reader,
  vchannel: string,
  segmentIds: string[],
  { collectionId, refs, fieldIds }: FetchedRows,
  call: Call,
): Promise<FetchSource[]> {
  const schemaVersion = ctx.catalog.collection(collectionId)?.schema.version;
  const view = ctx.catalog.view(vchannel)?.segments ?? {};
  const gone = segmentIds.find((segmentId) => view[segmentId] === undefined);
  if (gone !== undefined) throw new VdbError("segment_not_loaded", `segment ${gone} is served by nobody any more`);
  const parts = await sealed.read(
    {
      kind: "fetch",
      vchannel,
      segmentIds,
      size: refs.row.length,
      ask: async (nodeId, wanted, options) => {
        const asked = { collectionId, refs: refsOf(refs, new Set(wanted)), fieldIds, schemaVersion };
        return (await ctx.bus.ask(fetchSegmentRows, { nodeId }, asked, options)).batch;
      },
    },
    call,
  );
  return parts.map((part) => ({ segmentIds: part.segmentIds, batch: part.reply }));
}

/** Each source has its rows in the order of refs: walks the refs and takes the next row of the source that each lies in. */
function inOrderOf(refs: RowRefs, sources: readonly FetchSource[], fieldIds: readonly number[]): ColumnBatch {
  const sourceOf = new Map<string, number>();
  sources.forEach(({ segmentIds }, source) => {
    for (const segmentId of segmentIds) sourceOf.set(segmentId, source);
  });
  const sourceOfSegment = refs.segments.map((segmentId) => sourceOf.get(segmentId)!);
  const next = sources.map(() => 0);
  const pick = { sources: new Uint32Array(refs.row.length), rows: new Uint32Array(refs.row.length) };
  for (let i = 0; i < refs.row.length; i++) {
    const source = sourceOfSegment[refs.segment[i]!]!;
    pick.sources[i] = source;
    pick.rows[i] = next[source]!++;
  }
  return gatherRows(
    sources.map(({ batch }) => batch),
    pick,
    fieldIds,
  );
}

/** The refs of those segments alone, in the same order. */
function refsOf({ segments, segment, row }: RowRefs, wanted: ReadonlySet<string>): RowRefs {
  const isWanted = segments.map((segmentId) => wanted.has(segmentId));
  const at = Array.from(segment.keys()).filter((i) => isWanted[segment[i]!]);
  return {
    segments,
    segment: Uint32Array.from(at, (i) => segment[i]!),
    row: Uint32Array.from(at, (i) => row[i]!),
  };
}
