/**
 * Hosting roles: actors on ports, whatever stands behind those. The only place that knows the actors.
 *
 * Start: fill the meta cache, start the actors, make sure that the server knows every subscription, and only then take
 * leases, so that a registered node can be asked. Stop: drain, so that others take over what this node owns; then give
 * the leases back, let the actors close what is left, and let running requests end.
 */
import { CoordinatorActor } from "../actors/coordinator.ts";
import { DataActor } from "../actors/datanode.ts";
import { ProxyActor } from "../actors/proxy.ts";
import { QueryActor } from "../actors/query.ts";
import { StreamingActor } from "../actors/streaming.ts";
import type { ActorContext, ActorFactory, Ports, Role } from "./actor.ts";
import { Bus, type Served } from "./bus/bus.ts";
import type { Transport } from "./bus/port.ts";
import { requestFigures } from "./bus/served-stats.ts";
import { announceService } from "./bus/services.ts";
import type { Config } from "./config/schema.ts";
import { Draining, ownedBy, untilMoved } from "./draining.ts";
import { errorMessage } from "./errors.ts";
import { loadDictionaries } from "./load-dictionaries.ts";
import type { Logger } from "./logger.ts";
import { startMetaCache } from "./meta/cache.ts";
import { createCatalog } from "./meta/catalog.ts";
import type { Figures } from "./metrics/metrics.ts";
import { type HeldNodeLease, keepNodeLease } from "./node-lease.ts";
import { NodeRegistry } from "./node-registry.ts";
import { decodeDoc, KEY_KINDS } from "./protocol/catalog.ts";
import { drainNode } from "./protocol/node.ts";
import type { Scope } from "./scope.ts";
import { Supervised } from "./supervisor.ts";
import { VERSION } from "./version.ts";

const FACTORIES: Record<Role, ActorFactory> = {
  coordinator: (ctx) => new CoordinatorActor(ctx),
  data: (ctx) => new DataActor(ctx),
  query: (ctx) => new QueryActor(ctx),
  streaming: (ctx) => new StreamingActor(ctx),
  proxy: (ctx) => new ProxyActor(ctx),
};

/** Roles that others wait for start first; the proxy, which takes users' requests, starts last and stops first. */
const START_ORDER = Object.keys(FACTORIES) as Role[];

/** The share of a stop's time in which others may take over; the rest is for closing what is left. */
const MOVING_PART = 0.6;

export interface HostOptions {
  roles: readonly Role[];
  nodeId: string;
  config: Config;
  logger: Logger;
  /** Closed by the caller, which ends everything that was started here. */
  scope: Scope;
  transport: Transport;
  /** The ports that are stores, and the world: what the others are made of. */
  ports: Omit<Ports, "bus" | "catalog" | "nodes">;
  /** Reads documents of the meta store, where many nodes of one process are sent the same ones; decodeDoc unless given. */
  readDoc?: typeof decodeDoc;
}

export interface HostedRoles {
  readonly bus: Bus;
  /** Plain snapshots of the actors, by role. */
  observe(): Record<string, Record<string, unknown>>;
  /** What the roles know for metrics, each by itself, and what is known of all their requests. */
  figures(): Figures[];
  isDraining(): boolean;
  /** Resolves when the roles can no longer go on. */
  readonly failed: Promise<Error>;
  /** Drains and stops the actors. Idempotent. */
  drain(): Promise<void>;
}

export async function hostRoles(options: HostOptions): Promise<HostedRoles> {
  const { nodeId, config, logger, scope, transport } = options;
  const { clock, leases, meta } = options.ports;
  let fail = (_: Error) => {};
  const failed = new Promise<Error>((resolve) => {
    fail = resolve;
  });

  const cache = await startMetaCache({
    meta,
    prefixes: Object.values(KEY_KINDS).map(({ prefix }) => prefix),
    decode: options.readDoc ?? decodeDoc,
    onCorrupt: (error) => logger.error({ error: error.message }, "meta value is corrupt"),
    clock,
    signal: scope.signal,
  });
  scope.defer(() => cache.close());
  cache.failed.catch((error: unknown) => fail(error as Error));
  const nodes = new NodeRegistry();
  scope.defer(() => nodes.close());
  const catalog = createCatalog(cache);
  await (options.roles.includes("coordinator") ? nodes.start(leases) : nodes.startAsMember(leases, catalog, nodeId));
  nodes.failed.catch((error: unknown) => fail(error as Error));
  const bus = new Bus({ transport, clock, logger, prefix: config.nats.prefix });
  scope.defer(() => bus.close());
  const ports: Ports = { ...options.ports, bus, catalog, nodes };
  const dictionaries = scope.use(loadDictionaries(catalog, ports.machine));

  scope.use(leases.showPresence(nodeId));
  const draining = new Draining();
  const served = new Map<Role, Set<Served>>();
  const supervised = START_ORDER.filter((role) => options.roles.includes(role)).map((role) => {
    const endpoints = new Set<Served>();
    served.set(role, endpoints);
    return new Supervised({
      role,
      factory: FACTORIES[role],
      newContext: (actorScope) =>
        actorContext(ports, {
          nodeId,
          config,
          role,
          draining,
          logger: logger.child({ role }),
          scope: actorScope,
          endpoints,
        }),
      clock,
      logger,
      onGivenUp: fail,
    });
  });
  const held: HeldNodeLease[] = [];
  const started: Supervised[] = [];
  const observe = () => Object.fromEntries(supervised.map((actor) => [actor.role, actor.observe()]));
  const owned = () => ownedBy(nodeId, ports.catalog, observe());
  const setDraining = async (isDraining: boolean) => {
    draining.set(isDraining);
    await Promise.all(held.map((lease) => lease.refresh()));
  };
  /** Nobody takes over from a node that could not say that it is leaving. */
  const moveAway = async () => {
    const movingMs = config.node.drainTimeoutMs * MOVING_PART;
    const deadline = clock.monotonic() + movingMs;
    const told = setDraining(true).then(() => true);
    if (!(await Promise.race([told, clock.sleep(movingMs).then(() => false)]))) return;
    await untilMoved({ nodeId, owned, catalog: ports.catalog, nodes, clock, deadline });
  };
  let stopping: Promise<void> | undefined;
  const drain = () => {
    stopping ??= (async () => {
      // A scope that closes already is that of a node that failed.
      if (!scope.signal.aborted) await moveAway();
      await Promise.all(held.splice(0).map((lease) => lease.release()));
      for (const actor of started.splice(0).reverse()) await actor.stop();
    })();
    return stopping;
  };
  scope.defer(drain);

  const asked = bus.serve(
    drainNode,
    { nodeId },
    async ({ isDraining }) => {
      if (isDraining !== null && isDraining !== draining.isDraining) await setDraining(isDraining);
      return { isDraining: draining.isDraining, owned: owned() };
    },
    { concurrency: 1, capacity: 64 },
  );
  scope.defer(() => asked.drain());
  await dictionaries.ready;
  for (const actor of supervised) {
    started.push(actor);
    await actor.start();
    await bus.flush();
    const { role } = actor;
    held.push(
      await keepNodeLease({
        leases,
        clock,
        logger,
        role,
        nodeId,
        leaseSeconds: config.node.leaseSeconds,
        isDraining: () => draining.isDraining,
        observe: () => actor.observe(),
      }),
    );
    scope.use(
      announceService(transport, {
        name: `${config.nats.prefix}-${role}`,
        id: nodeId,
        version: VERSION,
        description: `vdb-actor ${role}`,
        startedAt: new Date(clock.now()),
        endpoints: () => served.get(role) ?? [],
      }),
    );
  }
  const figures = () => [
    ...supervised.map((actor) => actor.figures()),
    requestFigures(bus.stats),
    { vdb_node_draining: Number(draining.isDraining) },
  ];
  return { bus, failed, observe, figures, isDraining: () => draining.isDraining, drain };
}

function actorContext(
  ports: Ports,
  life: {
    role: Role;
    nodeId: string;
    config: Config;
    draining: Draining;
    logger: Logger;
    scope: Scope;
    endpoints: Set<Served>;
  },
): ActorContext {
  const { nodeId, config, draining, logger, scope, endpoints } = life;
  return {
    ...ports,
    nodeId,
    config,
    draining,
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
      return served;
    },
  };
}
