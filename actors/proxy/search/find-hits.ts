/** The best hits of a search over all shards of a collection. */
import type { Call } from "../../../runtime/bus/bus.ts";
import type { FilterPlan } from "../../../runtime/expr/plan.ts";
import type { CollectionDoc } from "../../../runtime/protocol/catalog.ts";
import { searchShard } from "../../../runtime/protocol/streaming.ts";
import type { Freshness, SearchHits, VectorSearch } from "../../../runtime/protocol/values.ts";
import { reduceInTurns } from "../../../runtime/search/reduce-in-turns.ts";
import { askOwner, planned } from "../ask-owner.ts";
import type { ProxyContext } from "../context.ts";
import { partitionsOfFilter } from "../partition-keys.ts";
import { fillGroups } from "./fill-groups.ts";
import { withTermWeights } from "./sparse-queries.ts";

export interface SearchTarget {
  search: VectorSearch;
  freshness: Freshness;
  /** Null: all. */
  partitionIds: number[] | null;
  filter: FilterPlan | null;
  /** Absent: the newest. */
  readTs?: bigint;
  ignoreGrowing?: boolean;
}

export interface Found {
  hits: SearchHits;
  /** Segment id to its shard's place in the collection. */
  shardOf: ReadonlyMap<string, number>;
}

/** topK hits of each query, or of topK groups; fewer when there are no more. @throws VdbError what the owners say */
export async function findHits(
  proxy: ProxyContext,
  collection: CollectionDoc,
  asked: SearchTarget,
  call: Call,
): Promise<Found> {
  const search = await withTermWeights(proxy.actor, collection, asked, call);
  const target = { ...asked, search };
  const parts = await searchShards(proxy, collection, target, call);
  const found = { hits: await reduceInTurns(parts, search, proxy.actor.clock), shardOf: shardsOfSegments(parts) };
  if (search.group?.isStrict !== true || search.group.size === 1) return found;
  const find = async (again: SearchTarget) => {
    const more = await searchShards(proxy, collection, again, call);
    return { hits: await reduceInTurns(more, again.search, proxy.actor.clock), shardOf: shardsOfSegments(more) };
  };
  return fillGroups(found, target, search.group, find, proxy.actor.clock);
}

/** The hits of every shard, in the order of the shards. */
function searchShards(
  { actor, searchBatches }: ProxyContext,
  collection: CollectionDoc,
  target: SearchTarget,
  call: Call,
): Promise<SearchHits[]> {
  const { search, freshness, filter, readTs, ignoreGrowing } = target;
  const partitionIds = target.partitionIds ?? partitionsOfFilter(collection, filter);
  const more = {
    ...(readTs === undefined ? {} : { readTs }),
    ...(ignoreGrowing === true ? { ignoreGrowing } : {}),
  };
  return Promise.all(
    collection.shards.map((shard) => {
      const request = { ...planned(collection, shard), freshness, partitionIds, search, filter, ...more };
      const isFar = actor.catalog.channelOwner(shard.pchannel)?.nodeId !== actor.nodeId;
      return searchBatches.search(request, call, isFar, async (batch, batchCall) => {
        const owner = { collection, shard };
        return (await askOwner(actor, searchShard, owner, { ...request, search: batch }, batchCall)).hits;
      });
    }),
  );
}

/** @param parts what each shard found, in the order of the shards */
function shardsOfSegments(parts: readonly SearchHits[]): Map<string, number> {
  const shardOf = new Map<string, number>();
  parts.forEach(({ refs }, shard) => {
    for (const segmentId of refs.segments) shardOf.set(segmentId, shard);
  });
  return shardOf;
}
