/**
 * Leading: at most one coordinator can change anything, whatever it believes.
 *
 * The lease decides who tries, and is only about time. What decides who may is the epoch key: taking over raises it by
 * compare-and-set, and every commit of a leader is guarded by the revision that it wrote. Once another has raised it,
 * a deposed leader's commits find another revision and change nothing, however late it wakes up.
 */
import { setMaxListeners } from "node:events";
import type { ActorContext } from "../../runtime/actor.ts";
import { asVdbError, isVdbError, VdbError } from "../../runtime/errors.ts";
import { putDoc } from "../../runtime/meta/catalog.ts";
import type { MetaOp } from "../../runtime/meta/port.ts";
import { metaKeys } from "../../runtime/protocol/catalog.ts";
import { encode } from "../../runtime/protocol/codec.ts";

const LEASE_KEY = "leader.coordinator";

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

/** Leads once: waits for the lease, raises the epoch, runs `lead` until the lease or the epoch is lost. */
export async function leadOnce(ctx: ActorContext, lead: (leadership: Leadership) => Promise<void>): Promise<void> {
  const ttlSeconds = ctx.config.node.leaseSeconds;
  const value = encode({ nodeId: ctx.nodeId });
  const { revision, takenAt } = await waitForLease(ctx, value, ttlSeconds);
  const deposed = new AbortController();
  // Every job and wait of the leader listens to it; Node's warning at 11 would tell of no leak.
  setMaxListeners(0, deposed.signal);
  const stop = () => deposed.abort();
  ctx.signal.addEventListener("abort", stop, { once: true });
  const lease = { revision };
  const renewing = renew(ctx, value, ttlSeconds, lease, takenAt, deposed).finally(stop);
  try {
    if (ctx.signal.aborted) return;
    const leadership = await raiseEpoch(ctx, deposed);
    ctx.logger.info({ epoch: leadership.epoch }, "leading");
    await lead(leadership);
  } finally {
    stop();
    ctx.signal.removeEventListener("abort", stop);
    await renewing;
    // Handed back, so that a stand-by need not wait for it to expire.
    await ctx.leases.release(LEASE_KEY, lease.revision).catch(() => false);
    ctx.logger.info("leading no more");
  }
}

async function waitForLease(ctx: ActorContext, value: Uint8Array, ttlSeconds: number) {
  const { leases, clock, signal } = ctx;
  let wake = () => {};
  await using watch = await leases.watch([LEASE_KEY], () => wake());
  await watch.ready;
  for (;;) {
    if (signal.aborted) throw new VdbError("canceled", "the coordinator is stopping");
    const changed = new Promise<void>((resolve) => {
      wake = resolve;
    });
    const takenAt = clock.monotonic();
    try {
      const revision = await leases.acquire(LEASE_KEY, value, ttlSeconds);
      if (revision !== null) return { revision, takenAt };
    } catch (error) {
      if (!isVdbError(error, "unavailable")) throw error;
      ctx.logger.debug({ error: error.message }, "lease could not be asked for");
    }
    // The watch tells when the lease is free; the look after its time to live covers a watch that missed it.
    await Promise.race([changed, clock.sleep(ttlSeconds * 1000, signal)]);
  }
}

/** Renews until deposed. The time to live counts from before each renewal was sent. */
async function renew(
  ctx: ActorContext,
  value: Uint8Array,
  ttlSeconds: number,
  lease: { revision: number },
  takenAt: number,
  deposed: AbortController,
): Promise<void> {
  const { leases, clock } = ctx;
  let validUntil = takenAt + ttlSeconds * 1000;
  while (!deposed.signal.aborted) {
    await clock.sleep((ttlSeconds * 1000) / 3, deposed.signal).catch(() => undefined);
    if (deposed.signal.aborted) return;
    const sentAt = clock.monotonic();
    try {
      const revision = await leases.renew(LEASE_KEY, value, ttlSeconds, lease.revision);
      if (revision === null) return;
      lease.revision = revision;
      validUntil = sentAt + ttlSeconds * 1000;
    } catch (error) {
      ctx.logger.warn({ error: asVdbError(error).message }, "lease could not be renewed");
    }
    if (clock.monotonic() >= validUntil) return;
  }
}

async function raiseEpoch(ctx: ActorContext, deposed: AbortController): Promise<Leadership> {
  const { cache } = ctx.catalog;
  const deadline = () => ctx.clock.monotonic() + 10_000;
  for (;;) {
    await cache.sync(deadline());
    const epoch = (ctx.catalog.epoch()?.epoch ?? 0) + 1;
    const revision = await ctx.meta.commit([putDoc(cache, metaKeys.epoch, { epoch, nodeId: ctx.nodeId })]);
    if (revision === null) continue;
    await cache.waitFor(revision, deadline());
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
