/**
 * Which segments a read of a shard goes to: those the query view names, on query nodes; the rest, here. Taken at one
 * instant from one manifest and one view, so that every row is counted exactly once.
 */
import { VdbError } from "../../runtime/errors.ts";
import type { Catalog } from "../../runtime/meta/catalog.ts";
import type { Segment } from "../../runtime/segment/segment.ts";
import type { Shard } from "./shard.ts";

export interface ReadPlan {
  /** Served from here: growing, sealed, or flushed but not in the view yet. */
  local: Segment[];
  /** Sealed segments that the view names: read on query nodes. */
  remote: string[];
}

/**
 * @param partitionIds null: all
 * @throws VdbError collection_not_found, collection_not_loaded, collection_not_fully_loaded (of the partitions read)
 */
export function planRead(catalog: Catalog, shard: Shard, partitionIds: readonly number[] | null): ReadPlan {
  const collection = catalog.collection(shard.collectionId);
  const manifest = catalog.manifest(shard.vchannel);
  if (collection === undefined || manifest === undefined) {
    throw new VdbError("collection_not_found", `shard ${shard.vchannel} has been dropped`);
  }
  if (collection.loaded === undefined) {
    throw new VdbError("collection_not_loaded", `collection not loaded[collection=${collection.name}]`);
  }
  const view = catalog.view(shard.vchannel)?.segments ?? {};
  const isWanted = (partitionId: number) => partitionIds === null || partitionIds.includes(partitionId);
  const local = shard.liveSegments(manifest);
  const localIds = new Set(local.map(({ segmentId }) => segmentId));
  const remote: string[] = [];
  for (const { segmentId, partitionId } of manifest.segments) {
    if (!isWanted(partitionId)) continue;
    if (view[segmentId] === undefined) {
      if (localIds.has(segmentId)) continue;
      // A part is never given as the whole: the coordinator is loading this segment somewhere.
      throw new VdbError(
        "collection_not_fully_loaded",
        `collection not fully loaded[collection=${collection.name}]: segment ${segmentId} is on no query node yet`,
      );
    }
    remote.push(segmentId);
  }
  return {
    local: local.filter(({ segmentId, partitionId }) => isWanted(partitionId) && view[segmentId] === undefined),
    remote,
  };
}
