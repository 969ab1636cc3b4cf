/** Clusters for tests: a real nats-server and nodes in this process, on settings that make things happen soon. */
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { ROLES, type Role } from "../actor.ts";
import { loadConfig } from "../config/load.ts";
import { createLogger, type LogLevel } from "../logger.ts";
import { startNode, type VdbNode } from "../node.ts";
import { startTestNats, type TestNats } from "./nats-server.ts";

export interface TestCluster extends AsyncDisposable {
  readonly nats: TestNats;
  /** Those that run, in the order of starting. */
  readonly nodes: VdbNode[];
  startNode(roles: readonly Role[], settings?: string[]): Promise<VdbNode>;
  /** In order: the node hands over what it has. */
  stopNode(node: VdbNode): Promise<void>;
  /** Where the rows are now, over all nodes that run: tests wait for a hand-over by it. */
  placement(): Placement;
}

export interface Placement {
  /** Bytes of rows that streaming nodes serve. */
  heldBytes: number;
  /** Sealed segments on query nodes, replicas counted each. */
  segments: number;
  /** Of which opened with an index: one an indexed vector field. */
  indexes: number;
}

/** One nats-server and one node for each list of roles. settings: `section.key=value`; natsConfig: more lines of its file. */
export async function startTestCluster(
  nodes: readonly (readonly Role[])[] = [ROLES],
  settings: string[] = [],
  natsConfig = "",
): Promise<TestCluster> {
  const nats = await startTestNats({ config: natsConfig });
  const logger = createLogger({ level: (process.env.VDB_TEST_LOG as LogLevel | undefined) ?? "error" });
  const started: VdbNode[] = [];
  let count = 0;
  const cluster: TestCluster = {
    nats,
    nodes: started,
    placement: () => placementOf(started),
    async startNode(roles, more = []) {
      const dataDir = join(nats.dataDir, `node-${count++}`);
      const { config } = loadConfig({
        // JetStream reserves a stream's bound on the disk; tests need little of it.
        flags: [
          `nats.servers=${nats.url}`,
          `node.dataDir=${dataDir}`,
          // Nodes end in order here, which gives a lease back. One that runs out tells of a machine that stood still.
          "node.leaseSeconds=10",
          "cluster.walBytesMax=268435456",
          ...settings,
          ...more,
        ],
      });
      const node = await startNode({ roles, config, logger });
      started.push(node);
      return node;
    },
    async stopNode(node) {
      started.splice(started.indexOf(node), 1);
      await node.stop();
    },
    async [Symbol.asyncDispose]() {
      await Promise.all(started.map((node) => node.stop()));
      await nats[Symbol.asyncDispose]();
      await rm(nats.dataDir, { recursive: true, force: true });
    },
  };
  try {
    for (const roles of nodes) await cluster.startNode(roles);
  } catch (error) {
    await cluster[Symbol.asyncDispose]();
    throw error;
  }
  return cluster;
}

function placementOf(nodes: readonly VdbNode[]): Placement {
  const placement: Placement = { heldBytes: 0, segments: 0, indexes: 0 };
  for (const node of nodes) {
    const { streaming, query } = node.observe();
    placement.heldBytes += Number(streaming?.heldBytes ?? 0);
    placement.segments += Number(query?.segments ?? 0);
    placement.indexes += Number((query?.engine as { indexes: number } | null | undefined)?.indexes ?? 0);
  }
  return placement;
}
