/** `vdb-actor status`: what the cluster is, as tables or JSON. */
import type { Command } from "commander";
import { addConnectionOptions, loadSettings, type SettingsOptions } from "./settings.ts";
import type { ClusterStatus, NodeStatus } from "./status/collect.ts";
import { renderTable } from "./table.ts";

/** Names have up to 255 characters, and any number of fields an index: what is longer is cut here, and whole in JSON. */
const NAME_WIDTH_MAX = 40;
const INDEXES_WIDTH_MAX = 60;

export function addStatusCommand(program: Command): void {
  const command = program
    .command("status")
    .summary("show nodes, leader, channels, collections and segments")
    .description(
      "Shows the nodes with their roles, who leads, who owns which log channel, the collections and how far their " +
        "segments have come. Reads the meta store and the leases on NATS itself, so it works when no node answers.\n" +
        "ROWS counts those in segments, and those that still grow: GROWING, which only their streaming node knows (- when " +
        "it does not answer). Deleted rows count until they are compacted away.\n" +
        "SEGMENTS counts those flushed to objects, INDEXED those with every index, SERVED those on query nodes.",
    )
    .option("--json", "as JSON");
  addConnectionOptions(command)
    .addHelpText(
      "after",
      `
Examples:
  vdb-actor status
  vdb-actor status --json | jq '.channels[] | select(.isOpen | not)'
  vdb-actor status --nats nats://10.0.0.5:4222 --user admin --password-file admin.password`,
    )
    .action(async (options: SettingsOptions & { json?: boolean }) => {
      const { config } = loadSettings(options);
      const { collectStatus } = await import("./status/collect.ts");
      const status = await collectStatus(config);
      console.log(options.json === true ? JSON.stringify(status, null, 2) : renderStatus(status));
    });
}

export function renderStatus(status: ClusterStatus): string {
  return [
    headline(status),
    section("nodes", renderNodes(status), status.nodes.length),
    section("channels", renderChannels(status), status.channels.length),
    section("collections", renderCollections(status), status.collections.length),
  ].join("\n\n");
}

function headline({ clusterId, leader }: ClusterStatus): string {
  if (clusterId === null) return "cluster not created yet: no coordinator has led it";
  if (leader === null) return `cluster ${clusterId}, no leader`;
  const fate = leader.isAlive ? "" : ", which is gone";
  return `cluster ${clusterId}, led by ${leader.nodeId} in epoch ${leader.epoch}${fate}`;
}

function section(title: string, table: string, count: number): string {
  return count === 0 ? `no ${title}` : table;
}

function renderNodes({ nodes, leader }: ClusterStatus): string {
  return renderTable(
    [
      { title: "node", value: ({ nodeId }) => nodeId },
      { title: "roles", value: ({ roles }) => roles.join(",") },
      { title: "host", value: ({ host }) => host, widthMax: NAME_WIDTH_MAX },
      { title: "pid", value: ({ pid }) => pid },
      { title: "age", value: ({ ageSeconds }) => duration(ageSeconds) },
      { title: "load", value: (node) => describeLoad(node, leader?.nodeId === node.nodeId) },
    ],
    nodes,
  );
}

/** The few numbers of each role's lease that say how busy it is. */
function describeLoad({ load, isDraining }: NodeStatus, isLeader: boolean): string {
  const parts: string[] = isDraining ? ["draining"] : [];
  if (load.coordinator !== undefined) parts.push(isLeader ? "leads" : "stands by");
  if (load.streaming !== undefined) {
    const channels = (load.streaming.channels ?? []) as unknown[];
    parts.push(`${channels.length} channels, ${megabytes(load.streaming.heldBytes)} held`);
  }
  if (load.query !== undefined) {
    parts.push(`${Number(load.query.segments ?? 0)} segments, ${megabytes(load.query.memoryBytes)} in memory`);
    if (Number(load.query.mappedBytes ?? 0) > 0) parts.push(`${megabytes(load.query.mappedBytes)} mapped`);
  }
  if (load.data !== undefined) parts.push(`${Number(load.data.runningJobs ?? 0)} jobs`);
  return parts.join("; ");
}

function renderChannels({ channels }: ClusterStatus): string {
  return renderTable(
    [
      { title: "channel", value: ({ channel }) => channel },
      { title: "owner", value: ({ owner }) => owner },
      { title: "state", value: ({ isOpen }) => (isOpen ? "open" : "closed") },
      { title: "term", value: ({ term }) => term },
      { title: "checkpoint", value: ({ checkpointSeq }) => checkpointSeq },
      { title: "shards", value: ({ shards }) => shards },
    ],
    channels,
  );
}

function renderCollections({ collections }: ClusterStatus): string {
  return renderTable(
    [
      {
        title: "collection",
        value: ({ database, name }) => (database === "default" ? name : `${database}.${name}`),
        widthMax: NAME_WIDTH_MAX,
      },
      { title: "shards", value: ({ shards }) => shards },
      { title: "load", value: ({ loadState, replicas }) => (replicas > 1 ? `${loadState} x${replicas}` : loadState) },
      { title: "rows", value: ({ rowsInSegments, growingRows }) => rowsInSegments + (growingRows ?? 0) },
      { title: "growing", value: ({ growingRows }) => growingRows },
      { title: "segments", value: ({ segments }) => segments.flushed },
      { title: "indexed", value: ({ segments }) => segments.indexed },
      { title: "served", value: ({ segments }) => segments.served },
      { title: "size", value: ({ segments }) => megabytes(segments.bytes) },
      {
        title: "indexes",
        value: ({ indexes }) => indexes.map(({ field, type, metric }) => `${field}: ${type} ${metric}`).join(", "),
        widthMax: INDEXES_WIDTH_MAX,
      },
    ],
    collections,
  );
}

function megabytes(bytes: unknown): string {
  return `${(Number(bytes ?? 0) / 1024 ** 2).toFixed(1)} MiB`;
}

function duration(seconds: number): string {
  if (seconds < 120) return `${seconds}s`;
  if (seconds < 7_200) return `${Math.floor(seconds / 60)}m`;
  return seconds < 172_800 ? `${Math.floor(seconds / 3_600)}h` : `${Math.floor(seconds / 86_400)}d`;
}
