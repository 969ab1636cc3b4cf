/** What a cluster is, as its meta store and leases tell: read straight from NATS, so it works when no node answers. */
import type { Config } from "../../config/schema.ts";
import { hasIndexFile } from "../../index-files.ts";
import { startMetaCache } from "../../meta/cache.ts";
import { type Catalog, createCatalog } from "../../meta/catalog.ts";
import { createNatsLeases } from "../../meta/nats-lease.ts";
import { createNatsMeta } from "../../meta/nats-meta.ts";
import { connectNats } from "../../nats/connect.ts";
import { NodeRegistry } from "../../node-registry.ts";
import { type CollectionDoc, decodeDoc, KEY_KINDS, type SegmentDoc } from "../../protocol/catalog.ts";
import type { NodeLease } from "../../protocol/node.ts";
import { systemClock, systemRandom } from "../../system-clock.ts";
import { natsOptions } from "../connect.ts";

/** A cluster's stores exist or do not: nobody waits for them to be created. */
const STORES_TIMEOUT_MS = 3_000;

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
  /** In segments; rows that still grow on a streaming node are not counted, deleted ones are. */
  rowsInSegments: number;
  segments: SegmentCounts;
  indexes: { name: string; field: string; type: string; metric: string }[];
}

/** Each segment of the manifests counts in `flushed`, and in the others as far as it has come. */
export interface SegmentCounts {
  flushed: number;
  indexed: number;
  served: number;
  bytes: number;
}

/** @throws VdbError unavailable (no NATS), not_ready (no such cluster) */
export async function collectStatus(config: Config): Promise<ClusterStatus> {
  const { prefix } = config.nats;
  const connections = await connectNats(natsOptions(config, "vdb-status"));
  const stopped = new AbortController();
  const nodes = new NodeRegistry();
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
    return describeCluster(createCatalog(cache), nodes.all(), systemClock.now());
  } finally {
    stopped.abort();
    await nodes.close();
    await connections.close();
  }
}

/** Pure: what the catalogue and the leases say at a moment. */
export function describeCluster(catalog: Catalog, leases: readonly NodeLease[], nowMs: number): ClusterStatus {
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
      .map((collection) => describeCollection(catalog, collection))
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

function describeCollection(catalog: Catalog, collection: CollectionDoc): CollectionStatus {
  const segments: SegmentCounts = { flushed: 0, indexed: 0, served: 0, bytes: 0 };
  let rowsInSegments = 0;
  for (const { vchannel } of collection.shards) {
    const served = catalog.view(vchannel)?.segments ?? {};
    for (const segment of catalog.manifest(vchannel)?.segments ?? []) {
      rowsInSegments += segment.rowCount;
      segments.flushed++;
      segments.bytes += segment.object.bytes;
      if (isIndexed(collection, segment)) segments.indexed++;
      if (served[segment.segmentId] !== undefined) segments.served++;
    }
  }
  return {
    database: collection.database,
    name: collection.name,
    collectionId: collection.collectionId,
    shards: collection.shards.length,
    loadState: loadState(catalog, collection, segments),
    replicas: collection.loaded?.replicaNumber ?? 0,
    rowsInSegments,
    segments,
    indexes: collection.indexes.map(({ name, fieldId, type, metric }) => {
      const field = collection.schema.fields.find((candidate) => candidate.fieldId === fieldId);
      return { name, field: field?.name ?? String(fieldId), type, metric };
    }),
  };
}

function isIndexed(collection: CollectionDoc, segment: SegmentDoc): boolean {
  const files = collection.indexes.filter((index) => hasIndexFile(collection, index));
  return files.length > 0 && files.every(({ fieldId, indexId }) => segment.indexes[fieldId]?.indexId === indexId);
}

function loadState(
  catalog: Catalog,
  collection: CollectionDoc,
  segments: SegmentCounts,
): CollectionStatus["loadState"] {
  if (collection.loaded === undefined) return "released";
  const isViewed = collection.shards.every(({ vchannel }) => catalog.view(vchannel) !== undefined);
  return isViewed && segments.served === segments.flushed ? "loaded" : "loading";
}
