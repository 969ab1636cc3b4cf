/**
 * Which streaming node owns which channel. Owners that are gone, or are to leave, are replaced, and nodes that have two
 * channels more than another give one away. Early re-assignment is safe: the new owner's fence stops the old one.
 */
import type { ActorContext } from "../../runtime/actor.ts";
import { askNode } from "../../runtime/ask-node.ts";
import { asVdbError } from "../../runtime/errors.ts";
import { putDoc } from "../../runtime/meta/catalog.ts";
import type { MetaOp } from "../../runtime/meta/port.ts";
import { type ChannelDoc, metaKeys } from "../../runtime/protocol/catalog.ts";
import { flushShard } from "../../runtime/protocol/streaming.ts";
import type { Leadership } from "./leadership.ts";

/** How long a planned move waits for the channel to become light. */
const PREPARE_MS = 4_000;

export class ChannelAssigner {
  readonly #ctx: ActorContext;
  readonly #leadership: Leadership;
  readonly #onPrepared: () => void;
  /** Channels that are to move away from a node that lives, with the owner's term; whether they are light by now. */
  readonly #leaving = new Map<number, { term: number; isPrepared: boolean }>();

  constructor(ctx: ActorContext, leadership: Leadership, onPrepared: () => void) {
    this.#ctx = ctx;
    this.#leadership = leadership;
    this.#onPrepared = onPrepared;
  }

  async step(): Promise<void> {
    const { catalog, logger, nodes } = this.#ctx;
    const channels = catalog.cluster()?.walChannels ?? 0;
    const owners = Array.from({ length: channels }, (_, pchannel) => catalog.channelOwner(pchannel));
    const staying = nodes.ofRole("streaming").filter(({ isDraining }) => !isDraining);
    const moves = planMoves(
      owners,
      staying.map(({ nodeId }) => nodeId),
    );
    for (const pchannel of this.#leaving.keys()) if (!moves.has(pchannel)) this.#leaving.delete(pchannel);
    for (const pchannel of moves.keys()) {
      const owner = owners[pchannel];
      const isPlanned = owner !== undefined && nodes.has("streaming", owner.nodeId);
      if (isPlanned && !this.#isPrepared(pchannel, owner)) moves.delete(pchannel);
    }
    if (moves.size === 0) return;
    const ops: MetaOp[] = [...moves].map(([pchannel, nodeId]) => {
      const doc: ChannelDoc = { nodeId, term: (owners[pchannel]?.term ?? 0) + 1 };
      return putDoc(catalog.cache, metaKeys.channel(pchannel), doc);
    });
    if (await this.#leadership.commit(ops)) logger.info({ moves: Object.fromEntries(moves) }, "channels assigned");
  }

  #isPrepared(pchannel: number, owner: ChannelDoc): boolean {
    const leaving = this.#leaving.get(pchannel);
    if (leaving?.term === owner.term) return leaving.isPrepared;
    const begun = { term: owner.term, isPrepared: false };
    this.#leaving.set(pchannel, begun);
    void this.#prepare(pchannel, owner.nodeId).finally(() => {
      begun.isPrepared = true;
      this.#onPrepared();
    });
    return false;
  }

  /**
   * Makes a channel light while its owner still serves it: its rows go to objects and on to query nodes, so that the
   * next owner has little to replay. This only saves time, so it never rejects: the move comes all the same.
   */
  async #prepare(pchannel: number, nodeId: string): Promise<void> {
    const { bus, catalog, clock, logger, nodes } = this.#ctx;
    const deadline = clock.monotonic() + PREPARE_MS;
    const shards = catalog
      .collections()
      .flatMap(({ collectionId, shards }) => shards.map((shard) => ({ collectionId, ...shard })))
      .filter((shard) => shard.pchannel === pchannel);
    await Promise.all(
      shards.map(({ collectionId, vchannel }) =>
        askNode(nodes, { role: "streaming", nodeId }, this.#leadership.signal, (signal) =>
          bus.ask(flushShard, { nodeId }, { collectionId, vchannel }, { deadline, signal }),
        ).catch((error: unknown) =>
          logger.debug({ vchannel, error: asVdbError(error).message }, "not flushed before its channel moves"),
        ),
      ),
    );
    let changed = new AbortController();
    using _views = catalog.cache.subscribe("view.", () => changed.abort());
    for (;;) {
      const leftMs = deadline - clock.monotonic();
      if (leftMs <= 0 || this.#isServedByQueryNodes(pchannel) || this.#leadership.signal.aborted) return;
      changed = new AbortController();
      const until = AbortSignal.any([changed.signal, this.#leadership.signal]);
      await clock.sleep(leftMs, until).catch(() => undefined);
    }
  }

  /** Every flushed segment of the channel's loaded shards is in a view: its owner's copies serve nobody any more. */
  #isServedByQueryNodes(pchannel: number): boolean {
    const { catalog } = this.#ctx;
    return catalog
      .collections()
      .filter(({ loaded }) => loaded !== undefined)
      .flatMap(({ shards }) => shards.filter((shard) => shard.pchannel === pchannel))
      .every(({ vchannel }) => {
        const view = catalog.view(vchannel)?.segments ?? {};
        return (catalog.manifest(vchannel)?.segments ?? []).every(({ segmentId }) => view[segmentId] !== undefined);
      });
  }
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

/** Channel to new owner, of the nodes that stay; none when there are none. Pure: the same owners and nodes give the same moves. */
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
  // Only while every channel is owned: failures are mended before channels move for balance.
  if (orphans.length > 0) return moves;
  const sorted = byCount();
  const [fewest, few] = sorted[0]!;
  const [, many] = sorted.at(-1)!;
  if (many.length - few.length >= 2) moves.set(many.at(-1)!, fewest);
  return moves;
}
