/**
 * The lease of one role of a node: taken when the actor serves, renewed with what it observes, given back on a stop.
 *
 * Its first renewal after a loss (the process was frozen, NATS was away) takes it again: the node is here.
 */
import { hostname } from "node:os";
import type { Role } from "./actor.ts";
import type { Clock } from "./clock.ts";
import { asVdbError } from "./errors.ts";
import { roleTerms, untilNextRenewal } from "./lease-renewal.ts";
import type { Logger } from "./logger.ts";
import type { LeasePort } from "./meta/port.ts";
import { encode } from "./protocol/codec.ts";
import type { NodeLease } from "./protocol/node.ts";
import { VERSION } from "./version.ts";

export interface NodeLeaseOptions {
  leases: LeasePort;
  clock: Clock;
  logger: Logger;
  role: Role;
  nodeId: string;
  /** Of urgent ones (lease-renewal.ts). */
  leaseSeconds: number;
  isDraining: () => boolean;
  observe: () => Record<string, unknown>;
}

export interface HeldNodeLease {
  /** Renews it now, so that others see what has changed; resolves when they can. */
  refresh(): Promise<void>;
  /** Gives it back. Idempotent. */
  release(): Promise<void>;
}

/** Resolves when the lease is held for the first time. */
export async function keepNodeLease(options: NodeLeaseOptions): Promise<HeldNodeLease> {
  const { leases, clock, logger, role, nodeId, leaseSeconds, isDraining, observe } = options;
  const { ttlSeconds, renewMs } = roleTerms(role, leaseSeconds);
  const key = `${role}.${nodeId}`;
  const startedAt = clock.now();
  const host = hostname();
  let isReleased = false;
  let wake = new AbortController();
  let waiting: (() => void)[] = [];
  const value = () => {
    const lease: NodeLease = {
      nodeId,
      role,
      host,
      pid: process.pid,
      version: VERSION,
      startedAt,
      isDraining: isDraining(),
      state: observe(),
    };
    return encode(lease);
  };
  let revision = await leases.acquire(key, value(), ttlSeconds);
  let isLate = false;
  const renewing = (async () => {
    while (!isReleased) {
      await clock.sleep(untilNextRenewal(renewMs, clock.monotonic()), wake.signal).catch(() => undefined);
      if (isReleased) break;
      wake = new AbortController();
      const told = waiting;
      waiting = [];
      try {
        if (revision !== null) revision = await leases.renew(key, value(), ttlSeconds, revision);
        // At once: while it is not held, what the node owns is given to others.
        revision ??= await leases.acquire(key, value(), ttlSeconds);
        isLate = false;
      } catch (error) {
        logger[isLate ? "debug" : "warn"]({ key, error: asVdbError(error).message }, "node lease could not be renewed");
        isLate = true;
        waiting.push(...told.splice(0));
      }
      if (revision === null) waiting.push(...told.splice(0));
      for (const resolve of told) resolve();
    }
    for (const resolve of waiting) resolve();
  })();
  return {
    refresh() {
      if (isReleased) return Promise.resolve();
      wake.abort();
      return new Promise((resolve) => {
        waiting.push(resolve);
      });
    },
    async release() {
      isReleased = true;
      wake.abort();
      await renewing;
      if (revision !== null) await leases.release(key, revision).catch(() => false);
      revision = null;
    },
  };
}
