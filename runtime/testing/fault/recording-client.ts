/** A client of the database, as a user has it, that also tells the timestamps of its writes' answers. */
import { connect } from "nats";
import { VdbClient } from "../../../client/client.ts";
import { Bus } from "../../bus/bus.ts";
import { createNatsTransport } from "../../bus/nats-transport.ts";
import { createLogger } from "../../logger.ts";
import { serverList } from "../../nats/connect.ts";
import { systemClock } from "../../system-clock.ts";
import type { WorkloadClient } from "./workload.ts";

export interface RecordingClient extends AsyncDisposable {
  readonly client: VdbClient;
  /** For one call at a time. */
  readonly forWorkload: WorkloadClient;
}

export async function connectRecordingClient(servers: string): Promise<RecordingClient> {
  const connection = await connect({
    servers: serverList(servers),
    name: "vdb-chaos",
    timeout: 5_000,
    maxReconnectAttempts: -1,
    reconnectTimeWait: 250,
    pingInterval: 2_000,
    maxPingOut: 2,
    noAsyncTraces: true,
  });
  const logger = createLogger({ level: "silent" });
  const bus = new Bus({
    transport: createNatsTransport(connection, "_INBOX", logger),
    clock: systemClock,
    logger,
    prefix: "vdb",
  });
  let timestamp: bigint | undefined;
  const ask = bus.ask.bind(bus);
  bus.ask = async (...args) => {
    const reply = await ask(...args);
    const { sessionTs } = reply as { sessionTs?: unknown };
    if (typeof sessionTs === "string") timestamp = BigInt(sessionTs);
    return reply;
  };
  const client = VdbClient.inProcess(bus);
  const forWorkload = Object.assign(Object.create(null) as object, {
    createCollection: client.createCollection.bind(client),
    createIndex: client.createIndex.bind(client),
    loadCollection: client.loadCollection.bind(client),
    flush: client.flush.bind(client),
    get: client.get.bind(client),
    query: client.query.bind(client),
    search: client.search.bind(client),
    insert: (options: Parameters<VdbClient["insert"]>[0]) => fresh(() => client.insert(options)),
    upsert: (options: Parameters<VdbClient["upsert"]>[0]) => fresh(() => client.upsert(options)),
    delete: (options: Parameters<VdbClient["delete"]>[0]) => fresh(() => client.delete(options)),
    lastTimestamp: () => timestamp,
  }) satisfies WorkloadClient;
  /** A write that needed nothing done, a delete that found no row, brings no timestamp. */
  async function fresh<T>(write: () => Promise<T>): Promise<T> {
    timestamp = undefined;
    return write();
  }
  return {
    client,
    forWorkload,
    async [Symbol.asyncDispose]() {
      bus.close();
      await connection.close();
    },
  };
}
