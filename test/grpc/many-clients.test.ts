/** Many connections, and many collections that come and go over gRPC, several clients at once: nothing of them is left anywhere. */

import { credentials } from "@grpc/grpc-js";
import { Kvm } from "@nats-io/kv";
import { DataType, MilvusClient } from "@zilliz/milvus2-sdk-node";
import { connect } from "nats";
import { afterAll, beforeAll, expect, test } from "vitest";
import { encodeMessage, loadDefinitions } from "../../actors/proxy/grpc/definitions.ts";
import type { TestCluster } from "../../runtime/testing/cluster.ts";
import { GrpcCaller, statusIn } from "./call.ts";
import { type GrpcNode, startGrpcNode } from "./node.ts";
import { grownSince, markSizes } from "./registries.ts";

const CONNECTIONS = 200;
const CLIENTS = 4;
const COLLECTIONS = 200;
/** Of each client. */
const AT_ONCE = 4;
/** One of so many is loaded, and others work with it while it is dropped. */
const DISTURBED = 10;
/** Whoever asks for what is being dropped is told that it is not there, and nothing else. */
const CLEAN = new Set([0, 100]);
const OK = { code: 0 };

let node: GrpcNode;
let cluster: TestCluster;
let address: string;

beforeAll(async () => {
  node = await startGrpcNode();
  ({ cluster, address } = node);
});

afterAll(async () => {
  await node?.[Symbol.asyncDispose]();
});

test("200 collections come and go, and their entries, documents, connections and timers with them", async () => {
  // What comes with the first ones comes once.
  await comeAndGo(2 * DISTURBED);
  await markSizes();
  await expect.poll(running).toBeLessThan(COLLECTIONS / 2);

  expect(await comeAndGo(COLLECTIONS)).toEqual([]);

  await expect.poll(metaKeys).toEqual([]);
  // Requests that have just been answered leave timers for a moment.
  await expect.poll(running).toBeLessThan(COLLECTIONS / 2);
  await expect.poll(() => grownSince(COLLECTIONS / 2), { interval: 1_000 }).toEqual([]);
  // Query nodes let go of segments a moment after nobody reads them.
  await expect
    .poll(() => cluster.nodes[0]!.observe())
    .toMatchObject({
      proxy: { requests: 0 },
      coordinator: { builds: 0, loads: 0 },
      query: { segments: 0, memoryBytes: 0 },
      streaming: { heldBytes: 0, waitingBytes: 0 },
    });
  const { channels } = cluster.nodes[0]!.observe().streaming as { channels: { shards: number }[] };
  expect(channels.reduce((sum, { shards }) => sum + shards, 0)).toBe(0);
}, 900_000);

test("200 connections at once make and drop a collection each, and go with their clients", async () => {
  const options = { "grpc.use_local_subchannel_pool": 1 };
  const each = () => new GrpcCaller(address, credentials.createInsecure(), options);
  const callers = Array.from({ length: CONNECTIONS }, each);
  try {
    await Promise.all(callers.map((caller) => caller.call("GetVersion")));
    expect(sockets()).toBeGreaterThanOrEqual(CONNECTIONS);
    await Promise.all(callers.map(makeAndDrop));
  } finally {
    for (const caller of callers) caller.close();
  }
  // gRPC's clients look for connections to close every 10 s.
  await expect.poll(sockets).toBeLessThan(CONNECTIONS / 4);
});

/** At least one for each connection: clients and server are one process here. The few others, to NATS and of clients that have just gone, come and go by themselves. */
function sockets(): number {
  return process.getActiveResourcesInfo().filter((kind) => kind === "TCPSocketWrap").length;
}

async function makeAndDrop(caller: GrpcCaller): Promise<void> {
  const collectionName = `d${Math.random().toString(36).slice(2)}`;
  const fields = [
    { name: "id", dataType: "Int64", isPrimaryKey: true },
    { name: "v", dataType: "FloatVector", typeParams: [{ key: "dim", value: "2" }] },
  ];
  const schema = encodeMessage(loadDefinitions().type("schema.CollectionSchema"), { name: collectionName, fields });
  for (const [method, request] of Object.entries({
    CreateCollection: { collectionName, schema },
    DropCollection: { collectionName },
  })) {
    expect(statusIn(await caller.call(method, request))).toMatchObject(OK);
  }
}

function running(): number {
  return process.getActiveResourcesInfo().length;
}

/** Of what documents of collections there are. */
async function metaKeys(): Promise<string[]> {
  const nats = await connect({ servers: cluster.nats.url });
  try {
    const bucket = await new Kvm(nats).open("vdb-meta");
    const keys = await collect(await bucket.keys());
    return keys.filter((key) => /^(collection|name|manifest|view)\./.test(key));
  } finally {
    await nats.close();
  }
}

/** Replies that were not to be. */
async function comeAndGo(count: number): Promise<string[]> {
  const client = () => new MilvusClient({ address, timeout: 60_000, logLevel: "error" });
  const clients = Array.from({ length: CLIENTS }, client);
  const other = new GrpcCaller(address);
  const odd: string[] = [];
  let made = 0;
  const work = async (of: MilvusClient) => {
    while (made < count) {
      const isDisturbed = made++ % DISTURBED === 0;
      const name = `c${Math.random().toString(36).slice(2)}`;
      await makeAndFill(of, name);
      if (isDisturbed) await load(of, name);
      const replies = isDisturbed ? disturb(other, name) : [];
      expect(await of.dropCollection({ collection_name: name })).toMatchObject(OK);
      for (const { method, reply } of await Promise.all(replies)) {
        const { code, reason } = statusIn(reply);
        if (!CLEAN.has(code)) odd.push(`${method}: ${code} ${reason}`);
      }
    }
  };
  try {
    await Promise.all(clients.map(({ connectPromise }) => connectPromise));
    await Promise.all(clients.flatMap((each) => Array.from({ length: AT_ONCE }, () => work(each))));
  } finally {
    other.close();
    await Promise.all(clients.map((each) => each.closeConnection()));
  }
  return odd;
}

async function makeAndFill(client: MilvusClient, collection_name: string): Promise<void> {
  const fields = [
    { name: "id", data_type: DataType.Int64, is_primary_key: true, autoID: true },
    { name: "v", data_type: DataType.FloatVector, dim: 2 },
  ];
  expect(await client.createCollection({ collection_name, fields })).toMatchObject(OK);
  expect(await client.insert({ collection_name, data: [{ v: [1, 2] }] })).toMatchObject({ status: OK });
}

async function load(client: MilvusClient, collection_name: string): Promise<void> {
  const index = { collection_name, field_name: "v", index_type: "FLAT", metric_type: "L2" };
  expect(await client.createIndex(index as never)).toMatchObject(OK);
  expect(await client.loadCollectionAsync({ collection_name })).toMatchObject(OK);
}

function disturb(other: GrpcCaller, collectionName: string) {
  const request = { collectionName, expr: "id > 0", partitionName: "p", collectionNames: [collectionName] };
  const methods = ["Query", "DescribeCollection", "CreatePartition", "Flush", "ReleaseCollection"];
  return methods.map(async (method) => ({ method, reply: await other.call(method, request) }));
}

async function collect<T>(items: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const item of items) all.push(item);
  return all;
}
