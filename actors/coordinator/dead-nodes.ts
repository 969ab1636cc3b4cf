/**
 * Ends the leases of processes that are gone, before their time.
 *
 * A lease outlasts an election of its store, or a process that hangs for a moment; by leases alone, the death of a
 * process would go unnoticed for as long. But a server forgets the subscriptions of a process together with its
 * connection. So when the server tells that a connection is gone, or a lease has missed two renewals, and nobody serves
 * at the node's address, the process is dead, and its lease is deleted by compare-and-set on the revision that was not
 * renewed. Every coordinator looks, stand-bys too: the dead one may be the leader.
 *
 * Like the lease itself, this is only about time. A process that lives after all (its server was cut off) finds its
 * lease gone at its next renewal and takes it again; epochs and terms decide what it may do.
 */
import type { Ports } from "../../runtime/actor.ts";
import { asVdbError, isVdbError } from "../../runtime/errors.ts";
import { roleTerms, urgentTerms } from "../../runtime/lease-renewal.ts";
import type { Logger } from "../../runtime/logger.ts";
import { nodeOfLease, roleOfLease } from "../../runtime/node-registry.ts";
import { decode } from "../../runtime/protocol/codec.ts";
import { drainNode } from "../../runtime/protocol/node.ts";
import { LEASE_KEY } from "./leadership.ts";

/** Looks come with what is heard of the leases, at most so often. */
const LOOK_MS = 1_000;

/** What a renewal may take, beyond two of them. */
const LATE_MS = 500;

const ANSWER_MS = 1_000;

/** One who is told to be gone, and of whom it cannot be found out. */
const LOOKS_MAX = 10;

interface Held {
  key: string;
  revision: number;
  nodeId: string;
  missedMs: number;
  renewedAtMs: number;
}

type Verdict = "gone" | "there" | "unknown";

/** Runs until the signal aborts. */
export async function endDeadLeases(
  {
    leases,
    nodes,
    bus,
    clock,
    logger,
    leaseSeconds,
  }: Pick<Ports, "leases" | "nodes" | "bus" | "clock"> & { logger: Logger; leaseSeconds: number },
  signal: AbortSignal,
): Promise<void> {
  const held = new Map<string, Held>();
  /** Nodes whose connection is gone, with how often they were looked at. */
  const suspects = new Map<string, number>();
  let wake = () => {};
  // Stands still while nothing is heard: after an outage everybody has as long to come back as without one.
  let workingMs = 0;
  const { renewMs } = urgentTerms(leaseSeconds);
  let heardAt = clock.monotonic();
  using _leases = nodes.followLeases((changes) => {
    const now = clock.monotonic();
    workingMs += Math.min(now - heardAt, renewMs);
    heardAt = now;
    for (const { key, value, revision } of changes) {
      const nodeId = value === null ? undefined : holderOf(key, value);
      if (nodeId === undefined) held.delete(key);
      else held.set(key, { key, revision, nodeId, missedMs: missedMs(key, leaseSeconds), renewedAtMs: workingMs });
    }
    wake();
  });
  let lookedAt = Number.NEGATIVE_INFINITY;
  using _presence = leases.watchPresence((nodeId) => {
    suspects.set(nodeId, 0);
    lookedAt = Number.NEGATIVE_INFINITY;
    wake();
  });
  const stopped = new Promise<void>((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener("abort", () => resolve(), { once: true });
  });

  const verdictOn = async (nodeId: string): Promise<Verdict> => {
    const deadline = clock.monotonic() + ANSWER_MS;
    try {
      await bus.ask(drainNode, { nodeId }, { isDraining: null }, { deadline, signal });
      return "there";
    } catch (error) {
      if (isVdbError(error, "node_not_found")) return "gone";
      // One who is slow or frozen is there.
      return isVdbError(error, "deadline_exceeded") ? "there" : "unknown";
    }
  };
  const look = async (): Promise<void> => {
    const accused = [...held.values()].filter(
      ({ nodeId, renewedAtMs, missedMs }) => suspects.has(nodeId) || workingMs - renewedAtMs >= missedMs,
    );
    const verdicts = new Map<string, Promise<Verdict>>();
    for (const { nodeId } of accused) if (!verdicts.has(nodeId)) verdicts.set(nodeId, verdictOn(nodeId));
    const seen = new Map(suspects);
    const endings = accused.map(async ({ key, nodeId, revision }) => {
      if ((await verdicts.get(nodeId)) !== "gone") return;
      if (await leases.release(key, revision)) logger.info({ key, nodeId }, "lease of a node that is gone was ended");
    });
    const ended = await Promise.allSettled(endings);
    for (const ending of ended) {
      if (ending.status === "fulfilled") continue;
      // The store takes nothing at the moment: looked at again.
      logger.debug({ error: asVdbError(ending.reason).message }, "lease of a node that is gone could not be ended");
    }
    for (const [nodeId, looks] of seen) {
      const isOpen = (await verdicts.get(nodeId)) === "unknown" || ended.some(({ status }) => status === "rejected");
      // Told of again meanwhile, it is looked at again.
      if (suspects.get(nodeId) !== looks) continue;
      if (isOpen && looks < LOOKS_MAX) suspects.set(nodeId, looks + 1);
      else suspects.delete(nodeId);
    }
  };
  while (!signal.aborted) {
    const woken = new Promise<void>((resolve) => {
      wake = resolve;
    });
    if (clock.monotonic() - lookedAt >= LOOK_MS) {
      lookedAt = clock.monotonic();
      await look();
    }
    const again = suspects.size > 0 ? [clock.sleep(LOOK_MS, signal).catch(() => undefined)] : [];
    await Promise.race([woken, stopped, ...again]);
  }
}

/** Two renewals, and what one takes; of the time in which the store took renewals at all. */
function missedMs(key: string, leaseSeconds: number): number {
  const role = roleOfLease(key);
  const { renewMs } = role === undefined ? urgentTerms(leaseSeconds) : roleTerms(role, leaseSeconds);
  return 2 * renewMs + LATE_MS;
}

/** Undefined for what is neither a node's nor the leader's. */
function holderOf(key: string, value: Uint8Array): string | undefined {
  if (key === LEASE_KEY) return (decode(value) as { nodeId: string }).nodeId;
  return nodeOfLease(key);
}
