/**
 * Which segments of a shard are read where: those that the query view names on query nodes, the rest here. Decided at
 * one instant from one manifest and one view, so that every row is counted exactly once.
 */
import { VdbError } from "../../runtime/errors.ts";
import type { FilterPlan } from "../../runtime/expr/plan.ts";
import { type Catalog, shardGone } from "../../runtime/meta/catalog.ts";
import { livePartitions, loadedPartitions, partitionNotLoaded } from "../../runtime/partitions.ts";
import type { CollectionDoc } from "../../runtime/protocol/catalog.ts";
import { mayMatch } from "../../runtime/scalar-index/segment-bounds.ts";
import { defaultsOf } from "../../runtime/segment/default-columns.ts";
import type { Segment } from "../../runtime/segment/segment.ts";
import type { Shard } from "./shard.ts";

export interface ReadPlan {
  /** Served from here: growing, sealed, or flushed but not in the view yet. */
  local: Segment[];
  /** Sealed segments that the view names: read on query nodes. */
  remote: string[];
  /** How many other sealed segments were left out, because no row of them can match. */
  skipped: number;
}

export interface ReadScope {
  /** Null: all that are loaded. */
  partitionIds: readonly number[] | null;
  /** Leaves out rows that are in no object yet. */
  ignoreGrowing?: boolean | undefined;
  /** Leaves out sealed segments in which no row can match it. */
  filter?: FilterPlan | null;
}

/**
 * @throws VdbError collection_not_found, collection_not_loaded, partition_not_found, partition_not_loaded,
 * collection_not_fully_loaded (of the partitions read)
 */
export function planRead(catalog: Catalog, shard: Shard, scope: ReadScope): ReadPlan {
  const { partitionIds, ignoreGrowing = false, filter = null } = scope;
  const collection = catalog.collection(shard.collectionId);
  const manifest = catalog.manifest(shard.vchannel);
  if (collection === undefined || manifest === undefined) {
    throw shardGone(catalog, shard.vchannel);
  }
  if (collection.loaded === undefined) {
    throw new VdbError("collection_not_loaded", `collection not loaded[collection=${collection.name}]`);
  }
  const view = catalog.view(shard.vchannel)?.segments ?? {};
  const served = wantedPartitions(collection, partitionIds);
  const isWanted = (partitionId: number) => served.has(partitionId);
  const local = shard.liveSegments(manifest);
  for (const segment of local) segment.complete(defaultsOf(collection.schema));
  const localIds = new Set(local.map(({ segmentId }) => segmentId));
  const remote: string[] = [];
  let skipped = 0;
  for (const { segmentId, partitionId, bounds } of manifest.segments) {
    if (!isWanted(partitionId)) continue;
    if (view[segmentId] === undefined) {
      if (localIds.has(segmentId)) continue;
      // A part is never passed off as the whole: the coordinator is still loading this segment somewhere.
      throw new VdbError(
        "collection_not_fully_loaded",
        `collection not fully loaded[collection=${collection.name}]: segment ${segmentId} is on no query node yet`,
      );
    }
    if (filter === null || mayMatch(filter.root, bounds)) remote.push(segmentId);
    else skipped++;
  }
  const here = local.filter(({ segmentId, partitionId }) => isWanted(partitionId) && view[segmentId] === undefined);
  if (!ignoreGrowing) return { local: here, remote, skipped };
  const inObjects = new Set(manifest.segments.map(({ segmentId }) => segmentId));
  return { local: here.filter(({ segmentId }) => inObjects.has(segmentId)), remote, skipped };
}

function wantedPartitions(collection: CollectionDoc, partitionIds: readonly number[] | null): ReadonlySet<number> {
  const loaded = loadedPartitions(collection);
  if (partitionIds === null) return loaded;
  for (const partitionId of partitionIds) {
    if (loaded.has(partitionId)) continue;
    if (livePartitions(collection).has(partitionId)) throw partitionNotLoaded(collection, partitionId);
    throw new VdbError("partition_not_found", `partition not found[partition=${partitionId}]`);
  }
  return new Set(partitionIds);
}
