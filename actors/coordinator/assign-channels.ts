/**
 * Which streaming node owns which channel. Owners that are gone are replaced, and nodes that have two channels more
 * than another give one away. Early re-assignment is safe: the new owner's fence stops the old one.
 */
import type { ActorContext } from "../../runtime/actor.ts";
import { putDoc } from "../../runtime/meta/catalog.ts";
import type { MetaOp } from "../../runtime/meta/port.ts";
import { type ChannelDoc, metaKeys } from "../../runtime/protocol/catalog.ts";
import type { Leadership } from "./leadership.ts";

export async function assignChannels(ctx: ActorContext, leadership: Leadership): Promise<void> {
  const channels = ctx.catalog.cluster()?.walChannels ?? 0;
  const owners = Array.from({ length: channels }, (_, pchannel) => ctx.catalog.channelOwner(pchannel));
  const nodeIds = ctx.nodes.ofRole("streaming").map(({ nodeId }) => nodeId);
  const moves = planMoves(owners, nodeIds);
  if (moves.size === 0) return;
  const ops: MetaOp[] = [...moves].map(([pchannel, nodeId]) => {
    const doc: ChannelDoc = { nodeId, term: (owners[pchannel]?.term ?? 0) + 1 };
    return putDoc(ctx.catalog.cache, metaKeys.channel(pchannel), doc);
  });
  if (await leadership.commit(ops)) ctx.logger.info({ moves: Object.fromEntries(moves) }, "channels assigned");
}

/** Gives an owner the next term of its channel, if the channel is still its own under the old one. */
export async function renewTerm(
  ctx: ActorContext,
  leadership: Leadership,
  claim: { pchannel: number; nodeId: string; term: number },
): Promise<{ revision: number }> {
  const { cache } = ctx.catalog;
  for (;;) {
    const owner = ctx.catalog.channelOwner(claim.pchannel);
    if (owner?.nodeId !== claim.nodeId || owner.term !== claim.term) return { revision: cache.revision };
    const doc: ChannelDoc = { nodeId: owner.nodeId, term: owner.term + 1 };
    const op = putDoc(cache, metaKeys.channel(claim.pchannel), doc);
    if (await leadership.commit([op])) return { revision: cache.revision };
  }
}

/** Channel to new owner. Pure: the same owners and nodes give the same moves. */
export function planMoves(
  owners: readonly (Pick<ChannelDoc, "nodeId"> | undefined)[],
  nodeIds: readonly string[],
): Map<number, string> {
  const moves = new Map<number, string>();
  if (nodeIds.length === 0) return moves;
  const held = new Map<string, number[]>(nodeIds.map((nodeId) => [nodeId, []]));
  const orphans: number[] = [];
  owners.forEach((owner, pchannel) => {
    const channels = owner === undefined ? undefined : held.get(owner.nodeId);
    if (channels === undefined) orphans.push(pchannel);
    else channels.push(pchannel);
  });
  const byCount = () => [...held].sort((a, b) => a[1].length - b[1].length || (a[0] < b[0] ? -1 : 1));
  for (const pchannel of orphans) {
    const [nodeId, channels] = byCount()[0]!;
    channels.push(pchannel);
    moves.set(pchannel, nodeId);
  }
  // Only while everything is owned: a failure is mended before anything else moves.
  if (orphans.length > 0) return moves;
  const sorted = byCount();
  const [fewest, few] = sorted[0]!;
  const [, many] = sorted.at(-1)!;
  if (many.length - few.length >= 2) moves.set(many.at(-1)!, fewest);
  return moves;
}
