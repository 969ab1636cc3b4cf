/** Some changes of the catalogue count for rows only when the owners of the shards have heard of them. */
import type { ActorContext } from "../../../runtime/actor.ts";
import type { Call } from "../../../runtime/bus/bus.ts";
import { shardStats } from "../../../runtime/protocol/streaming.ts";
import { askOwner } from "../ask-owner.ts";

/**
 * Resolves when every shard's owner has the revision; a later owner has it before it takes a write. An owner of an
 * older software version answers without waiting for it.
 */
export async function untilOwnersKnow(
  actor: ActorContext,
  collectionId: number,
  revision: number,
  call: Call,
): Promise<void> {
  const collection = actor.catalog.collection(collectionId);
  if (collection === undefined) return;
  await Promise.all(
    collection.shards.map((shard) => {
      const asked = { collectionId, vchannel: shard.vchannel, revision };
      return askOwner(actor, shardStats, { collection, shard }, asked, call);
    }),
  );
}
