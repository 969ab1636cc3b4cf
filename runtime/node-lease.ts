/** The lease of one role of a node: taken when the actor serves, renewed with what it observes, given back on a stop. */
import { hostname } from "node:os";
import type { Role } from "./actor.ts";
import type { Clock } from "./clock.ts";
import { asVdbError } from "./errors.ts";
import type { Logger } from "./logger.ts";
import type { LeasePort } from "./meta/port.ts";
import type { NodeLease } from "./node-registry.ts";
import { encode } from "./protocol/codec.ts";
import { VERSION } from "./version.ts";

export interface NodeLeaseOptions {
  leases: LeasePort;
  clock: Clock;
  logger: Logger;
  role: Role;
  nodeId: string;
  ttlSeconds: number;
  observe: () => Record<string, unknown>;
}

/** Resolves when the lease is held for the first time. The returned function gives it back. */
export async function keepNodeLease(options: NodeLeaseOptions): Promise<() => Promise<void>> {
  const { leases, clock, logger, role, nodeId, ttlSeconds, observe } = options;
  const key = `${role}.${nodeId}`;
  const startedAt = clock.now();
  const stop = new AbortController();
  const value = () => {
    const lease: NodeLease = {
      nodeId,
      role,
      host: hostname(),
      pid: process.pid,
      version: VERSION,
      startedAt,
      state: observe(),
    };
    return encode(lease);
  };
  let revision = await leases.acquire(key, value(), ttlSeconds);
  const renewing = (async () => {
    while (!stop.signal.aborted) {
      await clock.sleep((ttlSeconds * 1000) / 3, stop.signal).catch(() => undefined);
      if (stop.signal.aborted) return;
      try {
        // A lease that was lost (the process was frozen, NATS was away) is taken again: the node is here.
        revision =
          revision === null
            ? await leases.acquire(key, value(), ttlSeconds)
            : await leases.renew(key, value(), ttlSeconds, revision);
      } catch (error) {
        logger.debug({ key, error: asVdbError(error).message }, "node lease could not be renewed");
      }
    }
  })();
  return async () => {
    stop.abort();
    await renewing;
    if (revision !== null) await leases.release(key, revision).catch(() => false);
  };
}
