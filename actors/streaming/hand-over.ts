/** The hand-over of flushed rows to query nodes: until a view names them, this node serves them. */
import type { Catalog } from "../../runtime/meta/catalog.ts";
import { loadedPartitions } from "../../runtime/partitions.ts";
import type { Shard } from "./shard.ts";

/** Drops flushed rows that the view serves, that compaction has replaced, or whose partition is not loaded. */
export function dropHandedOver(catalog: Catalog, shard: Shard): void {
  const collection = catalog.collection(shard.collectionId);
  const served = collection === undefined ? new Set() : loadedPartitions(collection);
  const view = catalog.view(shard.vchannel)?.segments;
  const named = new Set(catalog.manifest(shard.vchannel)?.segments.map(({ segmentId }) => segmentId));
  shard.handedOver(
    ({ segmentId, partitionId }) =>
      !served.has(partitionId) || view?.[segmentId] !== undefined || !named.has(segmentId),
  );
}
