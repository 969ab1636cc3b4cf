/**
 * Some changes of the catalogue count for rows only when the owners of channels have heard of them: until then an owner
 * would take writes by what was before.
 */
import type { ActorContext } from "../../../runtime/actor.ts";
import { type Call, wasUnserved } from "../../../runtime/bus/bus.ts";
import { isVdbError } from "../../../runtime/errors.ts";
import { ownerKnows, shardStats } from "../../../runtime/protocol/streaming.ts";
import { askOwnerOnce } from "../ask-owner.ts";
import { backOff } from "../backoff.ts";

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

/** A channel that never had an owner needs none to know: the first one looks at the store before it takes writes. */
async function untilOwnerKnows(actor: ActorContext, pchannel: number, revision: number, call: Call): Promise<void> {
  for (let attempt = 0; actor.catalog.channelOwner(pchannel) !== undefined; attempt++) {
    try {
      return await ask(actor, pchannel, revision, call);
    } catch (error) {
      await backOff(actor, error, attempt, call);
    }
  }
}

async function ask(actor: ActorContext, pchannel: number, revision: number, call: Call): Promise<void> {
  try {
    await askOwnerOnce(actor, ownerKnows, { shard: { pchannel } }, { pchannel, revision }, call);
  } catch (error) {
    if (!wasUnserved(error)) throw error;
    await askOlder(actor, pchannel, revision, call);
  }
}

/** A shard that there is not. */
const NOBODYS = { collectionId: 1, vchannel: "none" };

/** An owner of an older software version waits for the revision of whatever it is asked the figures of, and then refuses. */
async function askOlder(actor: ActorContext, pchannel: number, revision: number, call: Call): Promise<void> {
  try {
    await askOwnerOnce(actor, shardStats, { shard: { pchannel } }, { ...NOBODYS, revision }, call);
  } catch (error) {
    if (!isVdbError(error, "channel_not_owned")) throw error;
  }
}
