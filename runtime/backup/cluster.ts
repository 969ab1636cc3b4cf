/** A cluster as a backup or restore sees it: its stores directly, its coordinator and streaming nodes by asking. */

import { createNatsBlob } from "../blob/nats-blob.ts";
import type { BlobPort } from "../blob/port.ts";
import type { AskOptions } from "../bus/bus.ts";
import { Bus } from "../bus/bus.ts";
import { createNatsTransport } from "../bus/nats-transport.ts";
import type { Clock } from "../clock.ts";
import { isVdbError, VdbError } from "../errors.ts";
import { createLogger } from "../logger.ts";
import { startMetaCache } from "../meta/cache.ts";
import { type Catalog, createCatalog } from "../meta/catalog.ts";
import { createNatsLeases } from "../meta/nats-lease.ts";
import { createNatsMeta } from "../meta/nats-meta.ts";
import type { LeasePort } from "../meta/port.ts";
import { connectNats, type NatsOptions } from "../nats/connect.ts";
import { decodeDoc, KEY_KINDS, metaKeys, type ShardRef } from "../protocol/catalog.ts";
import { allocateIds, allocateTimestamps } from "../protocol/coordinator.ts";
import type { Operation } from "../protocol/operation.ts";
import type { Random } from "../random.ts";
import { Scope } from "../scope.ts";
import { systemClock, systemRandom } from "../system-clock.ts";

/** A cluster's stores exist or do not: nobody waits for them to be created. */
const STORES_TIMEOUT_MS = 3_000;

/** Of the catalogue with the store, and of questions that a failover may hold up. */
const CALL_TIMEOUT_MS = 30_000;

const PAUSE_MS_MAX = 1_000;

export interface Cluster {
  readonly bus: Bus;
  readonly catalog: Catalog;
  readonly leases: LeasePort;
  readonly blobs: BlobPort;
  readonly clock: Clock;
  readonly random: Random;
}

/** @throws VdbError unavailable (no NATS), not_ready (no such cluster), newer_version */
export async function openCluster(nats: NatsOptions, prefix: string): Promise<Cluster & AsyncDisposable> {
  const scope = new Scope(() => undefined);
  const common = { prefix, clock: systemClock, random: systemRandom };
  try {
    const connections = await connectNats(nats);
    scope.defer(() => connections.close());
    const meta = createNatsMeta(connections.control, common);
    const leases = createNatsLeases(connections.control, common);
    const blobs = createNatsBlob(connections.bulk, common);
    const deadlineMs = systemClock.monotonic() + STORES_TIMEOUT_MS;
    for (const store of [meta, leases, blobs]) await store.open({ deadlineMs });
    const stored = await meta.get(metaKeys.cluster);
    if (stored === null) throw new VdbError("not_ready", "no coordinator has led this cluster yet: start one");
    decodeDoc(metaKeys.cluster, stored.value);
    let corrupt: VdbError | undefined;
    const cache = await startMetaCache({
      meta,
      prefixes: Object.values(KEY_KINDS).map((kind) => kind.prefix),
      decode: decodeDoc,
      onCorrupt: (error) => {
        corrupt ??= error;
      },
      clock: systemClock,
      signal: scope.signal,
    });
    // A catalogue that cannot be read whole is none to make a copy by.
    if (corrupt !== undefined) throw corrupt;
    const logger = createLogger({ level: "silent" });
    const transport = createNatsTransport(connections.requests, nats.inboxPrefix ?? "_INBOX", logger);
    const bus = new Bus({ transport, clock: systemClock, logger, prefix });
    scope.defer(() => bus.close());
    return {
      bus,
      catalog: createCatalog(cache),
      leases,
      blobs,
      clock: systemClock,
      random: systemRandom,
      [Symbol.asyncDispose]: () => scope.close(),
    };
  } catch (error) {
    await scope.close().catch(() => undefined);
    throw error;
  }
}

/** Everything that was committed before this call is in the catalogue then. */
export async function syncCatalog({ catalog, clock }: Cluster): Promise<void> {
  await catalog.cache.sync(clock.monotonic() + CALL_TIMEOUT_MS);
}

export async function newTimestamp(cluster: Cluster): Promise<bigint> {
  return (await askLeader(cluster, allocateTimestamps, { count: 1 })).first;
}

/** The first of count consecutive ids. */
export async function newIds(cluster: Cluster, count: number): Promise<number> {
  return (await askLeader(cluster, allocateIds, { count })).first;
}

/** Asks the active coordinator; a failover is waited out. The operation must be idempotent. */
export function askLeader<Request, Reply>(
  cluster: Cluster,
  operation: Operation<`coordinator.${string}`, Request, Reply>,
  request: Request,
): Promise<Reply> {
  return asking(cluster, CALL_TIMEOUT_MS, metaKeys.epoch, (options) =>
    cluster.bus.ask(operation, {}, request, options),
  );
}

/** Asks the owner of a shard's channel, whoever it is by then. The operation must be idempotent. */
export function askOwner<Request, Reply>(
  cluster: Cluster,
  operation: Operation<"streaming.{nodeId}.flush", Request, Reply>,
  { pchannel }: ShardRef,
  request: Request,
  timeoutMs: number,
): Promise<Reply> {
  return asking(cluster, timeoutMs, metaKeys.channel(pchannel), (options) => {
    const owner = cluster.catalog.channelOwner(pchannel);
    if (owner === undefined) throw new VdbError("not_ready", `channel ${pchannel} has no owner`);
    return cluster.bus.ask(operation, { nodeId: owner.nodeId }, request, options);
  });
}

/** Asks again what may succeed later, until the time is over. Who was replaced never answers: the key tells. */
async function asking<Reply>(
  { catalog, clock }: Cluster,
  timeoutMs: number,
  key: string,
  ask: (options: AskOptions) => Promise<Reply>,
): Promise<Reply> {
  const deadline = clock.monotonic() + timeoutMs;
  for (let pauseMs = 50; ; pauseMs = Math.min(PAUSE_MS_MAX, pauseMs * 2)) {
    const replaced = new AbortController();
    using _watch = catalog.cache.subscribe(key, () => replaced.abort());
    try {
      return await ask({ deadline, signal: replaced.signal });
    } catch (error) {
      const mayRepeat =
        isVdbError(error) && (error.retriable || (error.kind === "canceled" && replaced.signal.aborted));
      if (!mayRepeat || clock.monotonic() + pauseMs >= deadline) throw error;
    }
    await clock.sleep(pauseMs);
  }
}
