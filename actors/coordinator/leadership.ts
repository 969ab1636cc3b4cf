/**
 * Leading: at most one coordinator can change anything, whatever it believes.
 *
 * The lease decides who tries, and is only about time: it may be short, stolen, or run out while its holder is frozen or
 * cut off from NATS. What decides who may is the epoch key: taking over raises it by compare-and-set, and every commit of
 * a leader is guarded by the revision that it wrote. Of two that both believe they lead, one raised the epoch last; the
 * other's guard names an older revision, so all its commits fail as a whole, however late it wakes up, and the first that
 * fails tells it that it is deposed. So a leader need not step down because a renewal is late, only because the lease or
 * the epoch is another's: that nobody renews for a while (a slow disk, NATS restarting) deposes nobody.
 */
import { setMaxListeners } from "node:events";
import type { ActorContext } from "../../runtime/actor.ts";
import { asVdbError, isVdbError, VdbError } from "../../runtime/errors.ts";
import { type LeaseTerms, untilNextRenewal, urgentTerms } from "../../runtime/lease-renewal.ts";
import { putDoc } from "../../runtime/meta/catalog.ts";
import type { MetaOp } from "../../runtime/meta/port.ts";
import { metaKeys } from "../../runtime/protocol/catalog.ts";
import { encode } from "../../runtime/protocol/codec.ts";

/** Of the lease of who leads; its value names the node. */
export const LEASE_KEY = "leader.coordinator";

/**
 * The leader's lease lasts no longer than this, even where nodes' leases do: ended by mistake, it costs an epoch, while
 * the end of a node's lease moves its channels.
 */
const ELECTION_LEASE_SECONDS = 4;

export interface Leadership {
  readonly epoch: number;
  /** Aborted when this node leads no more. */
  readonly signal: AbortSignal;
  /**
   * Commits under the epoch's guard and waits until this node's cache has it. False when an expectation did not hold:
   * the cache has caught up then, so the caller looks again. @throws VdbError canceled when deposed
   */
  commit(ops: MetaOp[]): Promise<boolean>;
}

/**
 * Leads once: waits for the lease, then runs `lead` until the lease or the epoch is lost, or the signal aborts. `lead`
 * is called with the lease held, and raises the epoch itself once it can be asked: nodes that hear of the epoch ask at
 * once.
 */
export async function leadOnce(
  ctx: ActorContext,
  signal: AbortSignal,
  lead: (raiseEpoch: () => Promise<Leadership>) => Promise<void>,
): Promise<void> {
  const { leaseSeconds } = ctx.config.node;
  // A replicated lease bucket takes no renewals for seconds when it loses its leader: then as long as the nodes'.
  const isReplicated = ctx.config.cluster.replicas > 1;
  const terms = urgentTerms(isReplicated ? leaseSeconds : Math.min(ELECTION_LEASE_SECONDS, leaseSeconds));
  const value = encode({ nodeId: ctx.nodeId });
  const lease = { revision: await waitForLease(ctx, signal, value, terms) };
  const deposed = new AbortController();
  // Every job and wait of the leader listens to it; Node's warning at 11 would tell of no leak.
  setMaxListeners(0, deposed.signal);
  const stop = () => deposed.abort();
  signal.addEventListener("abort", stop, { once: true });
  // Handed back at once: a stand-by waits neither for it to expire nor for this leader's last tasks.
  const handedBack = renew(ctx, value, terms, lease, deposed.signal)
    .finally(stop)
    .then(() => ctx.leases.release(LEASE_KEY, lease.revision))
    .catch(() => false);
  try {
    if (signal.aborted) return;
    await lead(() => raiseEpoch(ctx, deposed));
  } finally {
    stop();
    signal.removeEventListener("abort", stop);
    await handedBack;
    ctx.logger.info("leading no more");
  }
}

async function waitForLease(
  ctx: ActorContext,
  signal: AbortSignal,
  value: Uint8Array,
  { ttlSeconds }: LeaseTerms,
): Promise<number> {
  const { leases, nodes, clock } = ctx;
  let wake = () => {};
  let renewedAt = Number.NEGATIVE_INFINITY;
  using _watch = nodes.followLeases((changes) => {
    for (const { key, value } of changes) {
      if (key !== LEASE_KEY) continue;
      if (value === null) wake();
      else renewedAt = clock.monotonic();
    }
  });
  const isRenewed = () => clock.monotonic() - renewedAt < ttlSeconds * 1_000;
  for (;;) {
    if (signal.aborted) throw new VdbError("canceled", "the coordinator is stopping");
    const changed = new Promise<void>((resolve) => {
      wake = resolve;
    });
    try {
      const revision = await leases.acquire(LEASE_KEY, value, ttlSeconds);
      if (revision !== null) return revision;
    } catch (error) {
      if (!isVdbError(error, "unavailable")) throw error;
      ctx.logger.debug({ error: error.message }, "lease could not be asked for");
    }
    // The watch tells when the lease is free; the look after its time to live covers a watch that missed it.
    let isFree = false;
    const freed = changed.then(() => {
      isFree = true;
    });
    do {
      await Promise.race([freed, clock.sleep(ttlSeconds * 1_000, signal)]);
    } while (!isFree && isRenewed());
  }
}

/** Renews until the signal aborts or somebody else holds the lease. One that ran out unnoticed is taken again. */
async function renew(
  ctx: ActorContext,
  value: Uint8Array,
  { ttlSeconds, renewMs }: LeaseTerms,
  lease: { revision: number },
  signal: AbortSignal,
): Promise<void> {
  const { leases, clock } = ctx;
  for (;;) {
    await clock.sleep(untilNextRenewal(renewMs, clock.monotonic()), signal).catch(() => undefined);
    if (signal.aborted) return;
    try {
      const revision =
        (await leases.renew(LEASE_KEY, value, ttlSeconds, lease.revision)) ??
        (await leases.acquire(LEASE_KEY, value, ttlSeconds));
      if (revision === null) return;
      lease.revision = revision;
    } catch (error) {
      ctx.logger.warn({ error: asVdbError(error).message }, "lease could not be renewed");
    }
  }
}

async function raiseEpoch(ctx: ActorContext, deposed: AbortController): Promise<Leadership> {
  const { cache } = ctx.catalog;
  const deadline = () => ctx.clock.monotonic() + 10_000;
  for (;;) {
    await cache.sync(deadline());
    if (deposed.signal.aborted) throw deposedError();
    const epoch = (ctx.catalog.epoch()?.epoch ?? 0) + 1;
    const revision = await ctx.meta.commit([
      putDoc(cache, metaKeys.epoch, { epoch, nodeId: ctx.nodeId, keepsMembers: true }),
    ]);
    if (revision === null) continue;
    await cache.waitFor(revision, deadline());
    ctx.logger.info({ epoch }, "leading");
    // A leader that slept hears of its successor here before it has tried anything.
    const watch = cache.subscribe(metaKeys.epoch, () => deposed.abort());
    deposed.signal.addEventListener("abort", () => watch[Symbol.dispose](), { once: true });
    if (cache.revisionOf(metaKeys.epoch) !== revision || deposed.signal.aborted) throw deposedError();
    return {
      epoch,
      signal: deposed.signal,
      async commit(ops) {
        if (deposed.signal.aborted) throw deposedError();
        const guard: MetaOp = { op: "guard", key: metaKeys.epoch, revision };
        const committed = await ctx.meta.commit([...ops, guard]);
        if (committed !== null) {
          await cache.waitFor(committed, deadline());
          return true;
        }
        await cache.sync(deadline());
        if (cache.revisionOf(metaKeys.epoch) === revision) return false;
        deposed.abort();
        throw deposedError();
      },
    };
  }
}

function deposedError(): VdbError {
  return new VdbError("canceled", "this coordinator leads no more");
}
