/**
 * `node dist/bench/grpc.js`: what the encodings of the public API cost the database: gRPC, MessagePack over NATS, JSON over
 * HTTP. One process with every role; its processor time, without NATS's, for each row inserted and each search answered.
 * `--seconds N` for each measurement. Clients prepare their requests, so their own time is not included.
 */
import http from "node:http";
import { parseArgs } from "node:util";
import { Client, credentials } from "@grpc/grpc-js";
import { encodeMessage, loadDefinitions } from "../actors/proxy/grpc/definitions.ts";
import { VdbClient } from "../client/client.ts";
import { ROLES } from "../runtime/actor.ts";
import { startProcessCluster } from "../runtime/testing/process-cluster.ts";
import { clusteredVectors } from "../runtime/testing/vectors.ts";
import { cpuSeconds } from "./cpu-time.ts";
import { freePort } from "./peers/vdb.ts";
import { untilIndexed } from "./workload.ts";

const { values } = parseArgs({ options: { seconds: { type: "string", default: "4" } } });

const DIMENSION = 128;
const ROWS = 20_000;
const BATCH = 500;
const QUERIES = 200;
const LIMIT = 10;
const CLIENTS = 8;
const WARM_UP_MS = 1500;

const vectors = clusteredVectors(ROWS, DIMENSION, 1);
const vectorOf = (n: number) => vectors.subarray((n % ROWS) * DIMENSION, ((n % ROWS) + 1) * DIMENSION);

/** Does one thing, the n-th time. */
type Do = (n: number) => Promise<unknown>;
interface Wire {
  name: string;
  insert(collectionName: string): Do;
  search(collectionName: string, outputFields: string[]): Do;
}

const port = await freePort();
const settings = ["log.level=warn", `proxy.http=127.0.0.1:${port}`];
await using cluster = await startProcessCluster({ roles: [[...ROLES]], settings });
const client = await VdbClient.connect({ servers: cluster.nats.url });
const grpcClient = new Client(`127.0.0.1:${port}`, credentials.createInsecure());
const agent = new http.Agent({ keepAlive: true, maxSockets: CLIENTS });
try {
  const { pid } = cluster.processes[0]!;
  for (const wire of [overGrpc(), overNats(), overHttp()]) {
    const collectionName = `by_${wire.name.replace(/\W/g, "_")}`;
    await client.createCollection({ collectionName, dimension: DIMENSION, metricType: "L2" });
    const inserted = await measure(pid, wire.insert(collectionName), Math.ceil(ROWS / BATCH));
    say(`${wire.name.padEnd(18)} insert: ${line(inserted, BATCH, "row")}`);
    await client.waitUntilLoaded({ collectionName });
    await client.flush({ collectionName });
    await untilIndexed(client, ROWS, collectionName);
    for (const fields of [[], ["vector"]]) {
      const search = wire.search(collectionName, fields);
      await measure(pid, search, undefined, WARM_UP_MS);
      const searched = await measure(pid, search);
      say(
        `${wire.name.padEnd(18)} search${fields.length === 0 ? "" : " with vectors"}: ${line(searched, 1, "search")}`,
      );
    }
    await client.dropCollection({ collectionName });
  }
} finally {
  grpcClient.close();
  agent.destroy();
  await client.close();
}

interface Cost {
  count: number;
  seconds: number;
  cpu: number;
}

/** @param count how often; absent: for `forMs` */
async function measure(pid: number, act: Do, count?: number, forMs = Number(values.seconds) * 1000): Promise<Cost> {
  const started = performance.now();
  const before = cpuSeconds(pid);
  let next = 0;
  const isOn = () => (count === undefined ? performance.now() - started < forMs : next < count);
  const one = async () => {
    while (isOn()) await act(next++);
  };
  await Promise.all(Array.from({ length: CLIENTS }, one));
  return { count: next, seconds: (performance.now() - started) / 1000, cpu: cpuSeconds(pid) - before };
}

function line({ count, seconds, cpu }: Cost, each: number, what: string): string {
  const done = count * each;
  return `${Math.round(done / seconds)} a second, ${((cpu * 1e6) / done).toFixed(1)} us of processor a ${what}`;
}

function overGrpc(): Wire {
  const { methods, type } = loadDefinitions();
  const call = (name: string, request: Buffer) => {
    const { path } = methods.find((each) => each.name === name)!;
    const asIs = (bytes: Buffer) => bytes;
    return new Promise<Buffer>((resolve, reject) => {
      grpcClient.makeUnaryRequest(path, asIs, asIs, request, (error, reply) =>
        error === null ? resolve(reply!) : reject(error),
      );
    });
  };
  return {
    name: "gRPC",
    insert(collectionName) {
      const requests = batches((ids) => {
        const data = ids.flatMap((id) => [...vectorOf(id)]);
        const fieldsData = [
          { fieldName: "id", type: 5, scalars: { longData: { data: ids } } },
          { fieldName: "vector", type: 101, vectors: { dim: DIMENSION, floatVector: { data } } },
        ];
        return encodeMessage(type("milvus.InsertRequest"), { collectionName, fieldsData, numRows: ids.length });
      });
      return (n) => call("Insert", requests[n % requests.length]!);
    },
    search(collectionName, outputFields) {
      const requests = Array.from({ length: QUERIES }, (_, n) => {
        const values = [Buffer.from(vectorOf(n * 7).slice().buffer)];
        const placeholders = [{ tag: "$0", type: "FloatVector", values }];
        return encodeMessage(type("milvus.SearchRequest"), {
          ...{ collectionName, outputFields, nq: 1, useDefaultConsistency: true },
          placeholderGroup: encodeMessage(type("common.PlaceholderGroup"), { placeholders }),
          searchParams: [
            { key: "topk", value: String(LIMIT) },
            { key: "params", value: "{}" },
          ],
        });
      });
      return (n) => call("Search", requests[n % QUERIES]!);
    },
  };
}

function overNats(): Wire {
  return {
    name: "NATS MessagePack",
    insert(collectionName) {
      const requests = batches((ids) => ids.map((id) => ({ id, vector: vectorOf(id) })));
      return (n) => client.insert({ collectionName, data: requests[n % requests.length]! });
    },
    search: (collectionName, outputFields) => (n) =>
      client.search({ collectionName, data: [vectorOf((n % QUERIES) * 7)], limit: LIMIT, outputFields }),
  };
}

function overHttp(): Wire {
  const post = (path: string, body: string) =>
    new Promise<string>((resolve, reject) => {
      const options = { port, path: `/v2/vectordb/entities/${path}`, method: "POST", agent };
      const headers = { "content-type": "application/json", "content-length": Buffer.byteLength(body) };
      const request = http.request({ ...options, headers }, (response) => {
        const parts: Buffer[] = [];
        response.on("data", (part: Buffer) => parts.push(part));
        response.on("end", () => resolve(Buffer.concat(parts).toString()));
        response.on("error", reject);
      });
      request.on("error", reject);
      request.end(body);
    });
  return {
    name: "HTTP JSON",
    insert(collectionName) {
      const requests = batches((ids) =>
        JSON.stringify({ collectionName, data: ids.map((id) => ({ id, vector: [...vectorOf(id)] })) }),
      );
      return (n) => post("insert", requests[n % requests.length]!);
    },
    search(collectionName, outputFields) {
      const requests = Array.from({ length: QUERIES }, (_, n) =>
        JSON.stringify({ collectionName, data: [[...vectorOf(n * 7)]], limit: LIMIT, outputFields }),
      );
      return (n) => post("search", requests[n % QUERIES]!);
    },
  };
}

function batches<T>(of: (ids: number[]) => T): T[] {
  return Array.from({ length: ROWS / BATCH }, (_, b) => of(Array.from({ length: BATCH }, (_, i) => b * BATCH + i)));
}

function say(text: string): void {
  process.stdout.write(`${text}\n`);
}
