/** How many rows a collection has, or one of its partitions. */
import type { Call } from "../../runtime/bus/bus.ts";
import { isVdbError } from "../../runtime/errors.ts";
import { loadedPartitions } from "../../runtime/partitions.ts";
import type { CollectionDoc } from "../../runtime/protocol/catalog.ts";
import { shardStats } from "../../runtime/protocol/streaming.ts";
import { askOwner, named } from "./ask-owner.ts";
import type { ProxyContext } from "./context.ts";
import { queryShards } from "./query/query-shards.ts";

/** Exact while they are loaded. Otherwise, and while they are being loaded, a deleted row counts until its delete has been distributed. */
export async function countRows(
  { actor }: ProxyContext,
  collection: CollectionDoc,
  partitionId: number | undefined,
  call: Call,
): Promise<number> {
  const loaded = loadedPartitions(collection);
  const counted = partitionId === undefined ? collection.partitions.map((one) => one.partitionId) : [partitionId];
  if (counted.every((id) => loaded.has(id))) {
    const everything = { filter: null, fieldIds: [], limit: null, countOnly: true };
    const query = { freshness: { level: "strong" as const }, partitionIds: counted, ...everything };
    try {
      return (await queryShards(actor, collection, query, call)).count;
    } catch (error) {
      if (!isVdbError(error, "collection_not_fully_loaded")) throw error;
    }
  }
  const counts = await Promise.all(
    collection.shards.map((shard) => {
      const asked = named(collection, shard);
      const request = partitionId === undefined ? asked : { ...asked, partitionId };
      return askOwner(actor, shardStats, { collection, shard }, request, call);
    }),
  );
  return counts.reduce((sum, { growingRows, sealedRows }) => sum + growingRows + sealedRows, 0);
}
