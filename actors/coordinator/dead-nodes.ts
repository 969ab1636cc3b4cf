/**
 * Ends the leases of processes that are gone, before their time.
 *
 * A lease on a replicated store outlasts an election there (10 s), and for as long the death of a process would go
 * unnoticed. But a server forgets the subscriptions of a process together with its connection: where a lease has missed
 * two renewals and nobody serves at its node's address, nobody is there, and the lease is deleted by compare-and-set on
 * the revision that was not renewed. Every coordinator looks, the stand-bys too: the dead may be the leader.
 *
 * Like the lease itself this is only about time. A process that lives after all (its server was cut off) finds its
 * lease gone at its next renewal and takes it again; what it may do is decided by epochs and terms.
 */
import type { Ports } from "../../runtime/actor.ts";
import { asVdbError, isVdbError } from "../../runtime/errors.ts";
import type { Logger } from "../../runtime/logger.ts";
import { nodeOfLease } from "../../runtime/node-registry.ts";
import { decode } from "../../runtime/protocol/codec.ts";
import { drainNode } from "../../runtime/protocol/node.ts";
import { LEASE_KEY } from "./leadership.ts";

const LOOK_MS = 1_000;

/** Two renewals, a second each, and what one takes; of the time in which the store took renewals at all. */
const MISSED_MS = 2_500;

const ANSWER_MS = 1_000;

/** Runs until the signal aborts. @throws VdbError unavailable when the leases can no longer be followed */
export async function endDeadLeases(
  { leases, bus, clock, logger }: Pick<Ports, "leases" | "bus" | "clock"> & { logger: Logger },
  signal: AbortSignal,
): Promise<void> {
  const held = new Map<string, { key: string; revision: number; nodeId: string; renewedAtMs: number }>();
  // Stands still while nothing is heard: after an outage everybody has as long to come back as without one.
  let workingMs = 0;
  let heardAt = clock.monotonic();
  await using watch = await leases.watch([""], (changes) => {
    const now = clock.monotonic();
    workingMs += Math.min(now - heardAt, LOOK_MS);
    heardAt = now;
    for (const { key, value, revision } of changes) {
      const nodeId = value === null ? undefined : holderOf(key, value);
      if (nodeId === undefined) held.delete(key);
      else held.set(key, { key, revision, nodeId, renewedAtMs: workingMs });
    }
  });
  let failure: unknown;
  watch.failed.catch((error: unknown) => {
    failure = error;
  });
  await watch.ready;

  const isGone = async (nodeId: string): Promise<boolean> => {
    const deadline = clock.monotonic() + ANSWER_MS;
    try {
      await bus.ask(drainNode, { nodeId }, { isDraining: null }, { deadline, signal });
      return false;
    } catch (error) {
      // Only that nobody is there; one who is slow or frozen is there.
      return isVdbError(error, "node_not_found");
    }
  };
  while (!signal.aborted) {
    await clock.sleep(LOOK_MS, signal);
    if (failure !== undefined) throw failure;
    const late = [...held.values()].filter(({ renewedAtMs }) => workingMs - renewedAtMs >= MISSED_MS);
    const verdicts = new Map<string, Promise<boolean>>();
    for (const { nodeId } of late) if (!verdicts.has(nodeId)) verdicts.set(nodeId, isGone(nodeId));
    const endings = late.map(async ({ key, nodeId, revision }) => {
      if (!(await verdicts.get(nodeId))) return;
      if (await leases.release(key, revision)) logger.info({ key, nodeId }, "lease of a node that is gone was ended");
    });
    for (const ending of await Promise.allSettled(endings)) {
      if (ending.status === "fulfilled") continue;
      // The store takes nothing at the moment: looked at again.
      logger.debug({ error: asVdbError(ending.reason).message }, "lease of a node that is gone could not be ended");
    }
  }
}

/** Undefined for what is neither a node's nor the leader's. */
function holderOf(key: string, value: Uint8Array): string | undefined {
  if (key === LEASE_KEY) return (decode(value) as { nodeId: string }).nodeId;
  return nodeOfLease(key);
}
