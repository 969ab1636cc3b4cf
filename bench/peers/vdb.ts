/**
 * vdb-actor in three forms: every role and the client in this process; one process per role; the same over HTTP.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { Agent, request } from "node:http";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { VdbClient } from "../../client/client.ts";
import type { CreateCollectionOptions, Row, SearchOptions } from "../../client/types.ts";
import { ROLES, type Role } from "../../runtime/actor.ts";
import { loadConfig } from "../../runtime/config/load.ts";
import { createLogger } from "../../runtime/logger.ts";
import { startNatsServer } from "../../runtime/nats/server.ts";
import { startNode } from "../../runtime/node.ts";
import { startProcessCluster } from "../../runtime/testing/process-cluster.ts";
import { VERSION } from "../../runtime/version.ts";
import { untilIndexed } from "../workload.ts";
import type { PeerData } from "./data-sets.ts";
import { EF_CONSTRUCTION, M, type Peer, type PeerSession } from "./peer.ts";

const COLLECTION = "rows";
const BATCH_ROWS = 1000;
/** Inserts under way at a time: group commit gathers them. */
const WRITERS = 4;

export const FIVE: readonly (readonly Role[])[] = [["coordinator"], ["streaming"], ["query"], ["data"], ["proxy"]];

/** How rows are inserted and neighbours returned. */
interface Wire {
  insert(rows: Row[]): Promise<unknown>;
  search(options: SearchOptions): Promise<Row[]>;
  close(): Promise<void>;
}

export const vdbInProcess: Peer = {
  name: "vdb-in-process",
  describe: () => `vdb-actor ${VERSION}, every role and the client in one process, durable`,
  missing: async () => undefined,
  async open(data) {
    const folder = await mkdtemp(join(tmpdir(), "vdb-peers-"));
    const nats = await startNatsServer({ dataDir: join(folder, "nats"), port: 0 });
    const { config } = loadConfig({ flags: [`nats.servers=${nats.url}`, `node.dataDir=${join(folder, "node")}`] });
    const node = await startNode({ roles: ROLES, config, logger: createLogger({ level: "warn" }) });
    const client = VdbClient.inProcess(node.bus);
    const close = async () => {
      await node.stop();
      await nats.stop();
      await rm(folder, { recursive: true, force: true });
    };
    return vdbSession(client, data, { ...clientWire(client), close });
  },
};

export const vdbFiveProcesses: Peer = {
  name: "vdb-five",
  describe: () => `vdb-actor ${VERSION}, a process a role, client over NATS, durable`,
  missing: async () => undefined,
  open: async (data) => {
    const { client, close } = await startFive([]);
    return vdbSession(client, data, { ...clientWire(client), close });
  },
};

export const vdbHttp: Peer = {
  name: "vdb-http",
  describe: () => `vdb-actor ${VERSION}, a process a role, client over HTTP in JSON, durable`,
  missing: async () => undefined,
  async open(data) {
    const port = await freePort();
    const { client, close } = await startFive([`proxy.http=127.0.0.1:${port}`]);
    const agent = new Agent({ keepAlive: true });
    const post = (path: string, body: object) => postJson({ agent, port, path: `/v2/vectordb/${path}`, body });
    return vdbSession(client, data, {
      insert: (rows) => post("entities/insert", { collectionName: COLLECTION, data: rows.map(plain) }),
      search: async (options) => {
        const vectors = (options.data as Float32Array[]).map((vector) => Array.from(vector));
        return (await post("entities/search", { ...options, data: vectors })) as Row[];
      },
      async close() {
        agent.destroy();
        await close();
      },
    });
  },
};

async function startFive(settings: string[]): Promise<{ client: VdbClient; close(): Promise<void> }> {
  const cluster = await startProcessCluster({
    roles: FIVE,
    settings: ["log.level=warn", ...settings],
  });
  const client = await VdbClient.connect({ servers: cluster.nats.url });
  return {
    client,
    async close() {
      await client.close();
      await cluster[Symbol.asyncDispose]();
    },
  };
}

export function clientWire(client: VdbClient): Pick<Wire, "insert" | "search"> {
  return {
    insert: (data) => client.insert({ collectionName: COLLECTION, data }),
    search: async (options) => (await client.search(options))[0] ?? [],
  };
}

/** Creates the collection, without compaction, so that its segments stay the same while searches are measured. */
export async function vdbSession(client: VdbClient, data: PeerData, wire: Wire): Promise<PeerSession> {
  const { dimension, vectors, buckets, titles, rows } = data;
  const properties = { "collection.autocompaction.enabled": false };
  await client.createCollection({ ...schemaOf(data), properties });
  const rowOf = (row: number): Row => ({
    id: row,
    bucket: buckets[row],
    title: titles[row],
    vector: vectors.subarray(row * dimension, (row + 1) * dimension),
  });
  return {
    filters: true,
    async load() {
      let next = 0;
      const writer = async () => {
        while (next < rows) {
          const start = next;
          next += BATCH_ROWS;
          await wire.insert(Array.from({ length: Math.min(BATCH_ROWS, rows - start) }, (_, i) => rowOf(start + i)));
        }
      };
      await Promise.all(Array.from({ length: WRITERS }, writer));
    },
    async buildIndex() {
      await client.flush({ collectionName: COLLECTION });
      await untilIndexed(client, rows, COLLECTION);
    },
    async search(query, { k, ef, below, from }) {
      const found = await wire.search({
        collectionName: COLLECTION,
        data: [query],
        limit: k,
        searchParams: { params: { ef } },
        ...(below === undefined ? {} : { filter: filterOf(below, from) }),
      });
      return found.map(({ id }) => Number(id));
    },
    async addOne(row, vector) {
      await wire.insert([{ id: row, bucket: 0, title: "new", vector }]);
    },
    close: () => wire.close(),
  };
}

function filterOf(below: number, from: number | undefined): string {
  return from === undefined ? `bucket < ${below}` : `bucket >= ${from} and bucket < ${below}`;
}

function schemaOf({ dimension, metric }: PeerData): CreateCollectionOptions {
  return {
    collectionName: COLLECTION,
    schema: {
      fields: [
        { fieldName: "id", dataType: "Int64", isPrimary: true },
        { fieldName: "bucket", dataType: "Int64" },
        { fieldName: "title", dataType: "VarChar", elementTypeParams: { max_length: 65_535 } },
        { fieldName: "vector", dataType: "FloatVector", elementTypeParams: { dim: dimension } },
      ],
    },
    indexParams: [
      {
        fieldName: "vector",
        indexType: "HNSW",
        metricType: metric,
        params: { M, efConstruction: EF_CONSTRUCTION },
      },
    ],
  };
}

function plain(row: Row): Row {
  return { ...row, vector: Array.from(row.vector as Float32Array) };
}

/** @throws Error with the reply's message when its code is not 0. */
function postJson(options: { agent: Agent; port: number; path: string; body: object }): Promise<unknown> {
  const { agent, port, path, body } = options;
  const bytes = Buffer.from(JSON.stringify(body));
  const headers = { "content-type": "application/json", "content-length": bytes.length };
  return new Promise((resolve, reject) => {
    const sent = request({ agent, host: "127.0.0.1", port, path, method: "POST", headers }, (reply) => {
      const chunks: Buffer[] = [];
      reply.on("data", (chunk: Buffer) => chunks.push(chunk));
      reply.on("error", reject);
      reply.on("end", () => {
        try {
          const { code, message, data } = JSON.parse(Buffer.concat(chunks).toString()) as Record<string, unknown>;
          if (code === 0) resolve(data);
          else reject(new Error(`${path}: ${message}`));
        } catch (error) {
          reject(error);
        }
      });
    });
    sent.on("error", reject);
    sent.end(bytes);
  });
}

export function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once("error", reject);
    server.listen(0, "127.0.0.1", () => {
      const address = server.address();
      server.close(() => resolve(typeof address === "object" && address !== null ? address.port : 0));
    });
  });
}
