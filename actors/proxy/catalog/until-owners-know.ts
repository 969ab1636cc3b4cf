/** Some changes of the catalogue count for rows only when the owners of the shards have heard of them. */
import type { ActorContext } from "../../../runtime/actor.ts";
import type { Call } from "../../../runtime/bus/bus.ts";
import { isVdbError } from "../../../runtime/errors.ts";
import type { CollectionDoc, ShardRef } from "../../../runtime/protocol/catalog.ts";
import { shardStats } from "../../../runtime/protocol/streaming.ts";
import { askOwner, askOwnerOnce } from "../ask-owner.ts";
import { backOff } from "../backoff.ts";

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

/**
 * Resolves when no shard's owner would take a write of a dropped collection any more: it has the revision, or has none
 * of the collection's shards. Who reads the name from then on finds nothing, or a new collection.
 */
export async function untilOwnersForget(
  actor: ActorContext,
  collection: CollectionDoc,
  revision: number,
  call: Call,
): Promise<void> {
  await Promise.all(collection.shards.map((shard) => untilForgotten(actor, collection, shard, revision, call)));
}

async function untilForgotten(
  actor: ActorContext,
  { collectionId }: CollectionDoc,
  shard: ShardRef,
  revision: number,
  call: Call,
): Promise<void> {
  const { catalog } = actor;
  const ownerNow = () => {
    const { nodeId, term } = catalog.channelOwner(shard.pchannel) ?? {};
    return `${nodeId} ${term}`;
  };
  for (let attempt = 0; ; attempt++) {
    const owner = ownerNow();
    try {
      const asked = { collectionId, vchannel: shard.vchannel, revision };
      await askOwnerOnce(actor, shardStats, { shard }, asked, call);
      return;
    } catch (error) {
      if (isVdbError(error, "channel_not_owned", "not_ready")) {
        await catalog.cache.sync(call.deadline);
        // No owner: the next one looks at the store before it takes writes.
        if (catalog.channelOwner(shard.pchannel) === undefined) return;
        // It waited for the revision and has no such shard.
        if (error.kind === "channel_not_owned" && ownerNow() === owner) return;
      }
      await backOff(actor, error, attempt, call);
    }
  }
}
