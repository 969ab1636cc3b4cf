/**
 * Some changes of the catalogue count for rows only when the owners of channels have heard of them: until then an owner
 * would take writes by what was before. An owner that is assigned later has: it has heard of its assignment, and of all
 * that was before it.
 */
import type { ActorContext } from "../../../runtime/actor.ts";
import type { Call } from "../../../runtime/bus/bus.ts";
import { isVdbError } from "../../../runtime/errors.ts";
import { shardStats } from "../../../runtime/protocol/streaming.ts";
import { askOwnerOnce } from "../ask-owner.ts";
import { backOff } from "../backoff.ts";

/** Is asked about in place of a shard that there may not be any more: what is waited for is the refusal. */
const NOBODYS = { collectionId: 1, vchannel: "none" };

/** Resolves when the owners of the collection's shards have the revision, which this node has. */
export async function untilOwnersKnow(
  actor: ActorContext,
  collectionId: number,
  revision: number,
  call: Call,
): Promise<void> {
  const { shards = [] } = actor.catalog.collection(collectionId) ?? {};
  const pchannels = new Set(shards.map(({ pchannel }) => pchannel));
  await Promise.all(Array.from(pchannels, (pchannel) => untilOwnerKnows(actor, pchannel, revision, call)));
}

/** As untilOwnersKnow, of all channels: a name is somebody else's now, and who had it is not known any more. */
export async function untilAllOwnersKnow(actor: ActorContext, revision: number, call: Call): Promise<void> {
  const { walChannels = 0 } = actor.catalog.cluster() ?? {};
  await Promise.all(
    Array.from({ length: walChannels }, (_, pchannel) => untilOwnerKnows(actor, pchannel, revision, call)),
  );
}

/** An owner of an older software version answers without waiting for the revision. */
async function untilOwnerKnows(actor: ActorContext, pchannel: number, revision: number, call: Call): Promise<void> {
  for (let attempt = 0; actor.catalog.channelOwner(pchannel) !== undefined; attempt++) {
    try {
      const shard = { pchannel, vchannel: NOBODYS.vchannel };
      await askOwnerOnce(actor, shardStats, { shard }, { ...NOBODYS, revision }, call);
      return;
    } catch (error) {
      // It has no such shard, and has the revision; or it is not the owner any more.
      if (isVdbError(error, "channel_not_owned")) return;
      await backOff(actor, error, attempt, call);
    }
  }
}
