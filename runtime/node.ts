/**
 * A node: one process (or one of several in a test) that hosts roles on the real ports: NATS, this machine, its clock.
 *
 * Start: connect, open the stores (the coordinator's node creates them), host the roles. Stop: drain them, close the
 * connections.
 */
import { mkdir } from "node:fs/promises";
import type { Ports, Role } from "./actor.ts";
import { createNatsBlob } from "./blob/nats-blob.ts";
import type { Bus } from "./bus/bus.ts";
import { createNatsTransport } from "./bus/nats-transport.ts";
import type { Config } from "./config/schema.ts";
import { type HostedRoles, hostRoles } from "./host-roles.ts";
import { createNatsLog } from "./log/nats-log.ts";
import type { Logger } from "./logger.ts";
import { createLocalMachine } from "./machine/local-machine.ts";
import { kvStream, metaBucket } from "./meta/kv-names.ts";
import { createNatsLeases } from "./meta/nats-lease.ts";
import { createNatsMeta } from "./meta/nats-meta.ts";
import { connectNats, type NatsConnections } from "./nats/connect.ts";
import { countConnections } from "./nats/count-connections.ts";
import { leaveCutOffServers } from "./nats/leave-cut-off.ts";
import { natsOptions } from "./nats/options.ts";
import { type ClusterDoc, decodeDoc, metaKeys } from "./protocol/catalog.ts";
import { Scope } from "./scope.ts";
import { stopWithin } from "./stop-within.ts";
import { systemClock, systemRandom } from "./system-clock.ts";
import { VERSION } from "./version.ts";

/** A node that may not create the stores waits this long for one that may. */
const STORES_TIMEOUT_MS = 60_000;

export interface VdbNode {
  readonly nodeId: string;
  readonly bus: Bus;
  /** Plain snapshots of the actors, by role. */
  observe(): Record<string, Record<string, unknown>>;
  /** HOST:PORT where it tells its metrics; null unless `node.metrics` is set. */
  readonly metrics: string | null;
  /** Bytes that this node's request connection has moved. */
  traffic(): { sentBytes: number; receivedBytes: number };
  /** Resolves when the node can no longer go on; never on a clean stop. */
  readonly failed: Promise<Error>;
  /** Drains and stops, within the drain timeout. Idempotent. */
  stop(): Promise<void>;
}

export async function startNode(options: { roles: readonly Role[]; config: Config; logger: Logger }): Promise<VdbNode> {
  const { roles, config } = options;
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
  roles: readonly Role[];
  nodeId: string;
  config: Config;
  logger: Logger;
  scope: Scope;
}): Promise<VdbNode> {
  const { roles, nodeId, config, logger, scope } = node;
  await mkdir(config.node.dataDir, { recursive: true });
  const given = natsOptions(config, `vdb-${roles.join("-")}-${nodeId}`);
  const connections = await connectNats(given);
  scope.defer(() => connections.close());
  const stores = await openStores(connections, config, logger, roles.includes("coordinator"), scope.signal);
  if (config.cluster.replicas > 1) {
    const stream = kvStream(metaBucket(config.nats.prefix));
    const options = { stream, clock: systemClock, logger };
    scope.spawn("leave-cut-off", (signal) => leaveCutOffServers(connections, { ...options, signal }));
  }
  const transport = createNatsTransport(connections.requests, given.inboxPrefix, logger);
  const world = { clock: systemClock, random: systemRandom };
  const machine = createLocalMachine({ config, blobs: stores.blobs, logger, ...world });
  const hosted = await hostRoles({ ...node, transport, ports: { ...stores, ...world, machine } });
  const metrics = config.node.metrics === "" ? null : await openMetrics(node, connections, hosted);
  logger.info({ roles, version: VERSION, pid: process.pid, ...(metrics === null ? {} : { metrics }) }, "node started");

  let stopping: Promise<void> | undefined;
  return {
    nodeId,
    bus: hosted.bus,
    failed: hosted.failed,
    observe: hosted.observe,
    metrics,
    traffic: () => transport.traffic(),
    stop() {
      const close = () => scope.close();
      stopping ??= stopWithin(
        config.node.drainTimeoutMs,
        { drain: hosted.drain, close },
        { clock: systemClock, logger },
      ).then(() => logger.info("node stopped"));
      return stopping;
    },
  };
}

/** Where they are told. */
async function openMetrics(
  {
    config,
    nodeId,
    roles,
    logger,
    scope,
  }: { config: Config; nodeId: string; roles: readonly Role[]; logger: Logger; scope: Scope },
  connections: NatsConnections,
  hosted: HostedRoles,
): Promise<string> {
  // Loaded here: a node without the port does not pay for it.
  const { serveMetrics } = await import("./metrics/serve.ts");
  const connectionFigures = countConnections(connections);
  const labels = { version: VERSION, roles: roles.join(","), node_id: nodeId };
  const server = await serveMetrics({
    listen: config.node.metrics,
    figures: () => [{ vdb_node_info: [[labels, 1]] }, ...hosted.figures(), connectionFigures()],
    isDraining: hosted.isDraining,
    logger,
  });
  scope.use(server);
  return server.address;
}

/** The ports that are stores. The coordinator's node creates what is not there; others wait for it. */
async function openStores(
  connections: NatsConnections,
  config: Config,
  logger: Logger,
  mayCreate: boolean,
  signal: AbortSignal,
): Promise<Pick<Ports, "meta" | "leases" | "blobs" | "log">> {
  const { prefix } = config.nats;
  const { replicas, walBytesMax } = config.cluster;
  const common = { prefix, clock: systemClock, random: systemRandom };
  const meta = createNatsMeta(connections.control, { ...common, logger });
  const leases = createNatsLeases(connections.control, common);
  const blobs = createNatsBlob(connections.bulk, common);
  const log = createNatsLog(connections, { prefix, replicas, maxBytes: walBytesMax });
  const deadlineMs = systemClock.monotonic() + STORES_TIMEOUT_MS;
  for (const store of [meta, leases, blobs]) {
    if (mayCreate) await store.ensure({ replicas });
    else await store.open({ deadlineMs, signal });
  }
  // A node must not join a cluster whose format only a newer version knows.
  const stored = await meta.get(metaKeys.cluster);
  const cluster = stored === null ? undefined : (decodeDoc(metaKeys.cluster, stored.value) as ClusterDoc);
  if (mayCreate) await log.ensureChannels(cluster?.walChannels ?? config.cluster.walChannels);
  return { meta, leases, blobs, log };
}
