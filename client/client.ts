/**
 * The TypeScript client: Milvus's operations, typed, in MessagePack over NATS, or by function call to a database in the
 * same process. Errors are VdbErrors with Milvus's codes. What can succeed later without change is sent again until the
 * call's time is over; writes carry a request id, so they are applied once.
 *
 * Session consistency: the client remembers its last write of each collection, and its Session reads see that.
 */
import { connect, type NatsConnection } from "nats";
import { Bus } from "../runtime/bus/bus.ts";
import { createNatsTransport } from "../runtime/bus/nats-transport.ts";
import { errorMessage, VdbError } from "../runtime/errors.ts";
import { createLogger } from "../runtime/logger.ts";
import * as api from "../runtime/protocol/public.ts";
import { systemClock, systemRandom } from "../runtime/system-clock.ts";
import { type Caller, callPublic } from "./call.ts";
import type {
  CollectionDescription,
  ConnectOptions,
  CreateCollectionOptions,
  DeleteOptions,
  GetOptions,
  Hit,
  IndexDescription,
  IndexParams,
  InsertOptions,
  LoadState,
  PrimaryKey,
  QueryOptions,
  Row,
  SearchOptions,
  Vector,
} from "./types.ts";

const TIMEOUT_MS = 30_000;

/** A flush writes objects, a load reads them. */
const SLOW_TIMEOUT_MS = 120_000;

const POLL_MS_MIN = 100;
const POLL_MS_MAX = 1_000;

export class VdbClient {
  readonly #caller: Caller;
  readonly #timeoutMs: number;
  readonly #close: () => Promise<void>;
  /** Timestamps of this client's newest writes, by collection name. */
  readonly #lastWrites = new Map<string, string>();

  private constructor(bus: Bus, timeoutMs: number, close: () => Promise<void>) {
    this.#caller = { bus, clock: systemClock, random: systemRandom };
    this.#timeoutMs = timeoutMs;
    this.#close = close;
  }

  /** @throws VdbError unavailable */
  static async connect(options: ConnectOptions): Promise<VdbClient> {
    const { user, prefix = "vdb", timeoutMs = TIMEOUT_MS } = options;
    const inboxPrefix = user === undefined ? "_INBOX" : `_INBOX_${user}`;
    const connection = await connectClient(options, inboxPrefix);
    const logger = createLogger({ level: "silent" });
    const transport = createNatsTransport(connection, inboxPrefix, logger);
    const bus = new Bus({ transport, clock: systemClock, logger, prefix });
    return new VdbClient(bus, timeoutMs, async () => {
      bus.close();
      await connection.close();
    });
  }

  /** Over the bus of a node in this process: rows and hits go by reference. Closing the client leaves the bus open. */
  static inProcess(bus: Bus, options: { timeoutMs?: number } = {}): VdbClient {
    return new VdbClient(bus, options.timeoutMs ?? TIMEOUT_MS, () => Promise.resolve());
  }

  /** Calls still running fail as canceled. */
  close(): Promise<void> {
    return this.#close();
  }

  async createCollection(options: CreateCollectionOptions): Promise<void> {
    await this.#call(api.createCollection, { ...options });
  }

  async dropCollection(options: { collectionName: string }): Promise<void> {
    await this.#call(api.dropCollection, { ...options });
    this.#lastWrites.delete(options.collectionName);
  }

  async hasCollection(options: { collectionName: string }): Promise<boolean> {
    return (await this.#data<{ has: boolean }>(api.hasCollection, { ...options })).has;
  }

  listCollections(): Promise<string[]> {
    return this.#data(api.listCollections, {});
  }

  describeCollection(options: { collectionName: string }): Promise<CollectionDescription> {
    return this.#data(api.describeCollection, { ...options });
  }

  collectionStats(options: { collectionName: string }): Promise<{ rowCount: number }> {
    return this.#data(api.getCollectionStats, { ...options });
  }

  /** Resolves when the collection can be searched; with `wait: false`, when loading has begun. */
  async loadCollection(options: {
    collectionName: string;
    replicaNumber?: number;
    wait?: boolean;
    timeoutMs?: number;
  }): Promise<void> {
    const { wait = true, timeoutMs = SLOW_TIMEOUT_MS, ...body } = options;
    await this.#call(api.loadCollection, body);
    if (wait) await this.waitUntilLoaded({ collectionName: options.collectionName, timeoutMs });
  }

  /** @throws VdbError collection_not_fully_loaded when the time is over */
  async waitUntilLoaded(options: { collectionName: string; timeoutMs?: number }): Promise<void> {
    const { collectionName, timeoutMs = SLOW_TIMEOUT_MS } = options;
    const { clock } = this.#caller;
    const deadline = clock.monotonic() + timeoutMs;
    for (let pause = POLL_MS_MIN; ; pause = Math.min(POLL_MS_MAX, pause * 1.5)) {
      const { loadState, loadProgress = 0 } = await this.getLoadState({ collectionName });
      if (loadState === "LoadStateLoaded") return;
      if (loadState === "LoadStateNotLoad") {
        throw new VdbError("collection_not_loaded", `collection not loaded[collection=${collectionName}]`);
      }
      if (clock.monotonic() + pause >= deadline) {
        throw new VdbError(
          "collection_not_fully_loaded",
          `collection not fully loaded[collection=${collectionName}]: ${loadProgress} % after ${timeoutMs} ms`,
        );
      }
      await clock.sleep(pause);
    }
  }

  async releaseCollection(options: { collectionName: string }): Promise<void> {
    await this.#call(api.releaseCollection, { ...options });
  }

  getLoadState(options: { collectionName: string }): Promise<LoadState> {
    return this.#data(api.getLoadState, { ...options });
  }

  /** Resolves when everything written before is in objects. Durability and visibility do not need it. */
  async flush(options: { collectionName: string; timeoutMs?: number }): Promise<void> {
    const { timeoutMs = SLOW_TIMEOUT_MS, ...body } = options;
    await this.#call(api.flushCollection, body, timeoutMs);
  }

  async createIndex(options: { collectionName: string; indexParams: IndexParams[] }): Promise<void> {
    await this.#call(api.createIndex, { ...options });
  }

  async describeIndex(options: { collectionName: string; indexName: string }): Promise<IndexDescription> {
    const [index] = await this.#data<IndexDescription[]>(api.describeIndex, { ...options });
    return index!;
  }

  listIndexes(options: { collectionName: string }): Promise<string[]> {
    return this.#data(api.listIndexes, { ...options });
  }

  async dropIndex(options: { collectionName: string; indexName: string }): Promise<void> {
    await this.#call(api.dropIndex, { ...options });
  }

  async insert(options: InsertOptions): Promise<{ insertCount: number; insertIds: PrimaryKey[] }> {
    return (await this.#write(api.insertEntities, options)) as { insertCount: number; insertIds: PrimaryKey[] };
  }

  async upsert(options: InsertOptions): Promise<{ upsertCount: number; upsertIds: PrimaryKey[] }> {
    return (await this.#write(api.upsertEntities, options)) as { upsertCount: number; upsertIds: PrimaryKey[] };
  }

  async delete(options: DeleteOptions): Promise<{ deleteCount: number }> {
    return (await this.#write(api.deleteEntities, options)) as { deleteCount: number };
  }

  /** In the order of the keys; missing ones are silently absent. */
  get(options: GetOptions): Promise<Row[]> {
    return this.#read(api.getEntities, options);
  }

  /** Ascending by primary key. `outputFields: ["count(*)"]` gives one row of it. */
  query(options: QueryOptions): Promise<Row[]> {
    return this.#read(api.queryEntities, options);
  }

  /** A list of hits for each query vector, best first. */
  async search(options: SearchOptions): Promise<Hit[][]> {
    const { timeoutMs, ...body } = options;
    const request = this.#inSession({ ...body, data: searchData(options.data) });
    const reply = await this.#call(api.searchEntities, request, timeoutMs);
    const hits = reply.data as Hit[];
    let start = 0;
    return (reply.topks as number[]).map((count) => {
      start += count;
      return hits.slice(start - count, start);
    });
  }

  async #read(operation: api.PublicOperation, options: { collectionName: string; timeoutMs?: number }): Promise<Row[]> {
    const { timeoutMs, ...body } = options;
    return (await this.#call(operation, this.#inSession(body), timeoutMs)).data as Row[];
  }

  #inSession<T extends { collectionName: string }>(body: T): T & { guaranteeTimestamp?: string } {
    const ts = this.#lastWrites.get(body.collectionName);
    return ts === undefined ? body : { ...body, guaranteeTimestamp: ts };
  }

  async #write(operation: api.PublicOperation, options: InsertOptions | DeleteOptions): Promise<unknown> {
    const { timeoutMs = this.#timeoutMs, ...body } = options;
    const { collectionName } = options;
    const request = { ...body, requestId: options.requestId ?? this.#caller.random.ulid() };
    const reply = await callPublic(this.#caller, operation, request, {
      timeoutMs,
      // Rows that get their ids from the database would get others the second time, and be stored twice.
      mayRepeatUnanswered: async () =>
        operation === api.deleteEntities || !(await this.describeCollection({ collectionName })).autoId,
    });
    if (typeof reply.sessionTs === "string") this.#noteWrite(collectionName, reply.sessionTs);
    return reply.data;
  }

  #noteWrite(collectionName: string, ts: string): void {
    const known = this.#lastWrites.get(collectionName);
    if (known === undefined || BigInt(ts) > BigInt(known)) this.#lastWrites.set(collectionName, ts);
  }

  async #data<T>(operation: api.PublicOperation, body: Record<string, unknown>): Promise<T> {
    return (await this.#call(operation, body)).data as T;
  }

  #call(operation: api.PublicOperation, body: object, timeoutMs = this.#timeoutMs): Promise<api.PublicReply> {
    return callPublic(
      this.#caller,
      operation,
      { ...body },
      { timeoutMs, mayRepeatUnanswered: () => Promise.resolve(true) },
    );
  }
}

/** One vector is a list of one. A Float32Array goes as it is: the database knows the dimension. */
function searchData(data: Vector | readonly Vector[]): unknown {
  if (data instanceof Float32Array) return data;
  return typeof data[0] === "number" ? [data] : data;
}

async function connectClient(options: ConnectOptions, inboxPrefix: string): Promise<NatsConnection> {
  const { servers, user, pass } = options;
  try {
    return await connect({
      servers,
      name: "vdb-client",
      inboxPrefix,
      ...(user === undefined ? {} : { user }),
      ...(pass === undefined ? {} : { pass }),
      timeout: 5_000,
      // Calls have deadlines of their own; the connection may come back within them.
      maxReconnectAttempts: -1,
      reconnectTimeWait: 250,
      noAsyncTraces: true,
    });
  } catch (error) {
    throw new VdbError("unavailable", `cannot connect to NATS at ${String(servers)}: ${errorMessage(error)}`, {
      cause: error,
    });
  }
}
