/** The hand-over of flushed rows to query nodes: until a view names them, this node serves them. */
import type { Catalog } from "../../runtime/meta/catalog.ts";
import type { Shard } from "./shard.ts";

/** Drops what the view serves, what compaction has replaced, and everything when the collection is not loaded. */
export function dropHandedOver(catalog: Catalog, shard: Shard): void {
  const isLoaded = catalog.collection(shard.collectionId)?.loaded !== undefined;
  const view = catalog.view(shard.vchannel)?.segments;
  const named = new Set(catalog.manifest(shard.vchannel)?.segments.map(({ segmentId }) => segmentId));
  shard.handedOver((segmentId) => !isLoaded || view?.[segmentId] !== undefined || !named.has(segmentId));
}
