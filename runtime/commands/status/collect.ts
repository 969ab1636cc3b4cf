/**
 * What a cluster is, as its meta store and leases tell: read straight from NATS, so it works when no node answers. Streaming
 * nodes are asked for one figure, the rows that grow there, and are not waited for when they do not answer.
 */
import { Bus } from "../../bus/bus.ts";
import { createNatsTransport } from "../../bus/nats-transport.ts";
import type { Config } from "../../config/schema.ts";
import { createLogger } from "../../logger.ts";
import { startMetaCache } from "../../meta/cache.ts";
import { type Catalog, createCatalog } from "../../meta/catalog.ts";
import { createNatsLeases } from "../../meta/nats-lease.ts";
import { createNatsMeta } from "../../meta/nats-meta.ts";
import { addSegments, noSegments, type SegmentCounts } from "../../meta/segment-counts.ts";
import { connectNats } from "../../nats/connect.ts";
import { natsOptions } from "../../nats/options.ts";
import { NodeRegistry } from "../../node-registry.ts";
import { type CollectionDoc, decodeDoc, KEY_KINDS } from "../../protocol/catalog.ts";
import type { NodeLease } from "../../protocol/node.ts";
import { systemClock, systemRandom } from "../../system-clock.ts";
import { askGrowingRows } from "./growing-rows.ts";

/** A cluster's stores exist or do not: nobody waits for them to be created. */
const STORES_TIMEOUT_MS = 3_000;

/** For all of the growing rows together. */
const ROWS_TIMEOUT_MS = 2_000;

export interface ClusterStatus {
  clusterId: string | null;
  walChannels: number;
  leader: { nodeId: string; epoch: number; isAlive: boolean } | null;
  nodes: NodeStatus[];
  channels: ChannelStatus[];
  collections: CollectionStatus[];
}

export interface NodeStatus {
  nodeId: string;
  roles: string[];
  host: string;
  pid: number;
  version: string;
  ageSeconds: number;
  isDraining: boolean;
  /** What each role observes of itself. */
  load: Record<string, Record<string, unknown>>;
}

export interface ChannelStatus {
  channel: number;
  owner: string | null;
  /** False when the owner is gone, or says that it is not ready to serve the channel. */
  isOpen: boolean;
  term: number;
  checkpointSeq: number;
  shards: number;
}

export interface CollectionStatus {
  database: string;
  name: string;
  collectionId: number;
  shards: number;
  loadState: "loaded" | "loading" | "released";
  replicas: number;
  /** In segments that were flushed. Deleted rows are counted until they are compacted away. */
  rowsInSegments: number;
  /** Not flushed yet, without deleted ones; null when an owner of theirs did not answer. */
  growingRows: number | null;
  segments: Pick<SegmentCounts, "flushed" | "indexed" | "served" | "bytes">;
  indexes: { name: string; field: string; type: string; metric: string }[];
}

/** @throws VdbError unavailable (no NATS), not_ready (no such cluster) */
export async function collectStatus(config: Config): Promise<ClusterStatus> {
  const { prefix } = config.nats;
  const given = natsOptions(config, "vdb-status");
  const connections = await connectNats(given);
  const stopped = new AbortController();
  const nodes = new NodeRegistry();
  const logger = createLogger({ level: "silent" });
  const transport = createNatsTransport(connections.requests, given.inboxPrefix, logger);
  const bus = new Bus({ transport, clock: systemClock, logger, prefix });
  try {
    const ports = { prefix, clock: systemClock, random: systemRandom };
    const meta = createNatsMeta(connections.control, ports);
    const leases = createNatsLeases(connections.control, ports);
    const deadlineMs = systemClock.monotonic() + STORES_TIMEOUT_MS;
    await meta.open({ deadlineMs });
    await leases.open({ deadlineMs });
    await nodes.start(leases);
    const cache = await startMetaCache({
      meta,
      prefixes: Object.values(KEY_KINDS).map((kind) => kind.prefix),
      decode: decodeDoc,
      onCorrupt: (error) => console.error(`warning: ${error.message}`),
      clock: systemClock,
      signal: stopped.signal,
    });
    const catalog = createCatalog(cache);
    const growingRows = await askGrowingRows(bus, catalog, systemClock.monotonic() + ROWS_TIMEOUT_MS);
    return describeCluster(catalog, { leases: nodes.all(), growingRows }, systemClock.now());
  } finally {
    bus.close();
    stopped.abort();
    await nodes.close();
    await connections.close();
  }
}

/** Pure: what the catalogue and the nodes say at a moment. growingRows: by vchannel. */
export function describeCluster(
  catalog: Catalog,
  { leases, growingRows }: { leases: readonly NodeLease[]; growingRows: ReadonlyMap<string, number> },
  nowMs: number,
): ClusterStatus {
  const epoch = catalog.epoch();
  const alive = new Set(leases.map(({ nodeId }) => nodeId));
  const collections = catalog.collections();
  const cluster = catalog.cluster();
  return {
    clusterId: cluster?.clusterId ?? null,
    walChannels: cluster?.walChannels ?? 0,
    leader: epoch === undefined ? null : { ...epoch, isAlive: alive.has(epoch.nodeId) },
    nodes: describeNodes(leases, nowMs),
    channels: describeChannels(catalog, leases, collections),
    collections: collections
      .map((collection) => describeCollection(catalog, collection, growingRows))
      .sort((a, b) => (`${a.database}.${a.name}` < `${b.database}.${b.name}` ? -1 : 1)),
  };
}

function describeNodes(leases: readonly NodeLease[], nowMs: number): NodeStatus[] {
  const nodes = new Map<string, NodeStatus>();
  for (const { nodeId, role, host, pid, version, startedAt, isDraining, state } of leases) {
    const ageSeconds = Math.max(0, Math.round((nowMs - startedAt) / 1000));
    const node = nodes.get(nodeId) ?? { nodeId, roles: [], host, pid, version, ageSeconds, isDraining, load: {} };
    node.roles.push(role);
    node.load[role] = state;
    nodes.set(nodeId, node);
  }
  return [...nodes.values()].sort((a, b) => (a.nodeId < b.nodeId ? -1 : 1));
}

function describeChannels(
  catalog: Catalog,
  leases: readonly NodeLease[],
  collections: readonly CollectionDoc[],
): ChannelStatus[] {
  const channels: ChannelStatus[] = [];
  for (let channel = 0; channel < (catalog.cluster()?.walChannels ?? 0); channel++) {
    const owner = catalog.channelOwner(channel);
    channels.push({
      channel,
      owner: owner?.nodeId ?? null,
      isOpen: owner !== undefined && saysOpen(leases, owner.nodeId, channel),
      term: owner?.term ?? 0,
      checkpointSeq: catalog.checkpoint(channel)?.seq ?? 0,
      shards: collections.flatMap(({ shards }) => shards).filter(({ pchannel }) => pchannel === channel).length,
    });
  }
  return channels;
}

function saysOpen(leases: readonly NodeLease[], nodeId: string, channel: number): boolean {
  const lease = leases.find((candidate) => candidate.role === "streaming" && candidate.nodeId === nodeId);
  const held = (lease?.state.channels ?? []) as { pchannel: number; isOpen: boolean }[];
  return held.some(({ pchannel, isOpen }) => pchannel === channel && isOpen);
}

function describeCollection(
  catalog: Catalog,
  collection: CollectionDoc,
  growingRows: ReadonlyMap<string, number>,
): CollectionStatus {
  const counted = noSegments();
  addSegments(counted, catalog, collection);
  const { rows: rowsInSegments, unserved: _, ...segments } = counted;
  const growing = collection.shards.map(({ vchannel }) => growingRows.get(vchannel));
  return {
    database: collection.database,
    name: collection.name,
    collectionId: collection.collectionId,
    shards: collection.shards.length,
    loadState: loadState(catalog, collection, segments),
    replicas: collection.loaded?.replicaNumber ?? 0,
    rowsInSegments,
    growingRows: growing.reduce<number | null>(
      (sum, rows) => (sum === null || rows === undefined ? null : sum + rows),
      0,
    ),
    segments,
    indexes: collection.indexes.map(({ name, fieldId, type, metric }) => {
      const field = collection.schema.fields.find((candidate) => candidate.fieldId === fieldId);
      return { name, field: field?.name ?? String(fieldId), type, metric };
    }),
  };
}

function loadState(
  catalog: Catalog,
  collection: CollectionDoc,
  segments: CollectionStatus["segments"],
): CollectionStatus["loadState"] {
  if (collection.loaded === undefined) return "released";
  const isViewed = collection.shards.every(({ vchannel }) => catalog.view(vchannel) !== undefined);
  return isViewed && segments.served === segments.flushed ? "loaded" : "loading";
}
