/**
 * A node: one process (or one of several in a test) that hosts roles. The composition root: the only place that builds
 * real ports and knows the actors.
 *
 * Start: connect, open the stores (the coordinator's node creates them), fill the meta cache, start the actors, tell
 * the server of every subscription, and only then take leases: who is registered can be asked.
 * Stop: give the leases back, let the actors hand over and running requests end, close the connections.
 */
import { mkdir } from "node:fs/promises";
import { CoordinatorActor } from "../actors/coordinator.ts";
import { DataActor } from "../actors/datanode.ts";
import { ProxyActor } from "../actors/proxy.ts";
import { QueryActor } from "../actors/query.ts";
import { StreamingActor } from "../actors/streaming.ts";
import type { ActorContext, ActorFactory, Ports, Role } from "./actor.ts";
import { createNatsBlob } from "./blob/nats-blob.ts";
import { Bus, type Served } from "./bus/bus.ts";
import { createNatsTransport } from "./bus/nats-transport.ts";
import { announceService } from "./bus/services.ts";
import type { Config } from "./config/schema.ts";
import { errorMessage } from "./errors.ts";
import { createNatsLog } from "./log/nats-log.ts";
import type { Logger } from "./logger.ts";
import { startMetaCache } from "./meta/cache.ts";
import { createCatalog } from "./meta/catalog.ts";
import { createNatsLeases } from "./meta/nats-lease.ts";
import { createNatsMeta } from "./meta/nats-meta.ts";
import { connectNats, type NatsConnections } from "./nats/connect.ts";
import { keepNodeLease } from "./node-lease.ts";
import { NodeRegistry } from "./node-registry.ts";
import { type ClusterDoc, decodeDoc, KEY_KINDS, metaKeys } from "./protocol/catalog.ts";
import { Scope } from "./scope.ts";
import { Supervised } from "./supervisor.ts";
import { systemClock, systemRandom } from "./system-clock.ts";
import { VERSION } from "./version.ts";

const FACTORIES: Record<Role, ActorFactory> = {
  coordinator: (ctx) => new CoordinatorActor(ctx),
  data: (ctx) => new DataActor(ctx),
  query: (ctx) => new QueryActor(ctx),
  streaming: (ctx) => new StreamingActor(ctx),
  proxy: (ctx) => new ProxyActor(ctx),
};

/** Those that others wait for come first; the proxy, which takes users' requests, comes last (and leaves first). */
const START_ORDER = Object.keys(FACTORIES) as Role[];

/** A node that may not create the stores waits this long for one that may. */
const STORES_TIMEOUT_MS = 60_000;

export interface VdbNode {
  readonly nodeId: string;
  readonly bus: Bus;
  /** Plain snapshots of the actors, by role. */
  observe(): Record<string, Record<string, unknown>>;
  /** Bytes that this node's request connection has moved. */
  traffic(): { sentBytes: number; receivedBytes: number };
  /** Resolves when the node can no longer go on; never on a clean stop. */
  readonly failed: Promise<Error>;
  /** Hands over and stops, within the drain timeout. Idempotent. */
  stop(): Promise<void>;
}

export async function startNode(options: { roles: readonly Role[]; config: Config; logger: Logger }): Promise<VdbNode> {
  const { config } = options;
  const roles = START_ORDER.filter((role) => options.roles.includes(role));
  const nodeId = systemRandom.ulid();
  const logger = options.logger.child({ nodeId });
  const scope = new Scope((task, error) => logger.error({ task, err: error }, "node task failed"));
  try {
    return await composeNode({ roles, nodeId, config, logger, scope });
  } catch (error) {
    await scope.close().catch(() => undefined);
    throw error;
  }
}

async function composeNode(node: {
  roles: Role[];
  nodeId: string;
  config: Config;
  logger: Logger;
  scope: Scope;
}): Promise<VdbNode> {
  const { roles, nodeId, config, logger, scope } = node;
  await mkdir(config.node.dataDir, { recursive: true });
  const inboxPrefix = config.nats.user === "" ? "_INBOX" : `_INBOX_${config.nats.user}`;
  const connections = await connectNats({
    servers: config.nats.servers.split(",").map((server) => server.trim()),
    name: `vdb-${roles.join("-")}-${nodeId}`,
    inboxPrefix,
    ...(config.nats.user === "" ? {} : { user: config.nats.user, pass: config.nats.password }),
  });
  scope.defer(() => connections.close());
  const stores = await openStores(connections, config, roles.includes("coordinator"), scope.signal);
  let fail = (_: Error) => {};
  const failed = new Promise<Error>((resolve) => {
    fail = resolve;
  });

  const cache = await startMetaCache({
    meta: stores.meta,
    prefixes: Object.values(KEY_KINDS).map(({ prefix }) => prefix),
    decode: decodeDoc,
    onCorrupt: (error) => logger.error({ error: error.message }, "meta value is corrupt"),
    clock: systemClock,
    signal: scope.signal,
  });
  scope.defer(() => cache.close());
  cache.failed.catch((error: unknown) => fail(error as Error));
  const nodes = new NodeRegistry();
  scope.defer(() => nodes.close());
  await nodes.start(stores.leases);
  nodes.failed.catch((error: unknown) => fail(error as Error));

  const transport = createNatsTransport(connections.requests, inboxPrefix, logger);
  const bus = new Bus({ transport, clock: systemClock, logger, prefix: config.nats.prefix });
  scope.defer(() => bus.close());
  const ports: Ports = {
    bus,
    ...stores,
    catalog: createCatalog(cache),
    nodes,
    clock: systemClock,
    random: systemRandom,
  };

  const served = new Map<Role, Set<Served>>();
  const supervised = roles.map((role) => {
    const endpoints = new Set<Served>();
    served.set(role, endpoints);
    return new Supervised({
      role,
      factory: FACTORIES[role],
      newContext: (actorScope) => actorContext(ports, { ...node, role, scope: actorScope, endpoints }),
      clock: systemClock,
      logger,
      onGivenUp: fail,
    });
  });
  const leases: (() => Promise<void>)[] = [];
  const started: Supervised[] = [];
  const stopAll = async () => {
    await Promise.all(leases.splice(0).map((release) => release()));
    for (const actor of started.splice(0).reverse()) await actor.stop();
  };
  scope.defer(stopAll);

  for (const actor of supervised) {
    started.push(actor);
    await actor.start();
    await bus.flush();
    const { role } = actor;
    const ttlSeconds = config.node.leaseSeconds;
    const observe = () => actor.observe();
    leases.push(
      await keepNodeLease({ leases: stores.leases, clock: systemClock, logger, role, nodeId, ttlSeconds, observe }),
    );
    scope.use(
      announceService(transport, {
        name: `${config.nats.prefix}-${role}`,
        id: nodeId,
        version: VERSION,
        description: `vdb-actor ${role}`,
        startedAt: new Date(),
        endpoints: () => served.get(role) ?? [],
      }),
    );
  }
  logger.info({ roles, version: VERSION, pid: process.pid }, "node started");

  let stopping: Promise<void> | undefined;
  return {
    nodeId,
    bus,
    failed,
    observe: () => Object.fromEntries(supervised.map((actor) => [actor.role, actor.observe()])),
    traffic: () => transport.traffic(),
    stop() {
      stopping ??= stopWithin(config.node.drainTimeoutMs, scope, stopAll, logger);
      return stopping;
    },
  };
}

/** What takes longer than the drain timeout is cut off: a stop must end. */
async function stopWithin(ms: number, scope: Scope, drain: () => Promise<void>, logger: Logger): Promise<void> {
  const timeout = new AbortController();
  const late = systemClock.sleep(ms, timeout.signal).then(
    () => logger.warn({ ms }, "drain timed out"),
    () => undefined,
  );
  await Promise.race([drain(), late]);
  timeout.abort();
  await Promise.race([scope.close(), systemClock.sleep(2_000)]);
  logger.info("node stopped");
}

/** The ports that are stores. The coordinator's node creates what is not there; others wait for it. */
async function openStores(
  connections: NatsConnections,
  config: Config,
  mayCreate: boolean,
  signal: AbortSignal,
): Promise<Pick<Ports, "meta" | "leases" | "blobs" | "log">> {
  const { prefix } = config.nats;
  const { replicas, walBytesMax } = config.cluster;
  const common = { prefix, clock: systemClock, random: systemRandom };
  const meta = createNatsMeta(connections.control, common);
  const leases = createNatsLeases(connections.control, common);
  const blobs = createNatsBlob(connections.bulk, common);
  const log = createNatsLog(connections, { prefix, replicas, maxBytes: walBytesMax });
  const deadlineMs = systemClock.monotonic() + STORES_TIMEOUT_MS;
  for (const store of [meta, leases, blobs]) {
    if (mayCreate) await store.ensure({ replicas });
    else await store.open({ deadlineMs, signal });
  }
  if (mayCreate) {
    const stored = await meta.get(metaKeys.cluster);
    const cluster = stored === null ? undefined : (decodeDoc(metaKeys.cluster, stored.value) as ClusterDoc);
    await log.ensureChannels(cluster?.walChannels ?? config.cluster.walChannels);
  }
  return { meta, leases, blobs, log };
}

function actorContext(
  ports: Ports,
  life: { role: Role; nodeId: string; config: Config; logger: Logger; scope: Scope; endpoints: Set<Served> },
): ActorContext {
  const { role, nodeId, config, scope, endpoints } = life;
  const logger = life.logger.child({ role });
  return {
    ...ports,
    nodeId,
    config,
    logger,
    scope,
    signal: scope.signal,
    serve(operation, params, handler, options) {
      const served = ports.bus.serve(operation, params, handler, options);
      endpoints.add(served);
      scope.defer(async () => {
        await served.drain().catch((error: unknown) => logger.warn({ error: errorMessage(error) }, "drain failed"));
        endpoints.delete(served);
      });
    },
  };
}
