/**
 * The TypeScript client: Milvus's operations, typed, in MessagePack over NATS, or by function call to a database in the
 * same process. Errors are VdbErrors with Milvus's codes. A request that can succeed later unchanged is repeated until
 * the call's time is over; writes carry a request id, so they are applied once.
 *
 * Session consistency: the client remembers its last write to each collection, and its Session reads see that write.
 */
import { Bus } from "../runtime/bus/bus.ts";
import { createNatsTransport } from "../runtime/bus/nats-transport.ts";
import { isVdbError, VdbError } from "../runtime/errors.ts";
import { createLogger } from "../runtime/logger.ts";
import * as api from "../runtime/protocol/public.ts";
import { Slots } from "../runtime/slots.ts";
import { systemClock, systemRandom } from "../runtime/system-clock.ts";
import { type Caller, callPublic, DOUBLED_MAX } from "./call.ts";
import { connectClient } from "./connection.ts";
import { IdReserve } from "./id-reserve.ts";
import { iterateSearch } from "./iterate-search.ts";
import { hitsOfQueries, searchData } from "./search-data.ts";
import type {
  AliasDescription,
  CollectionDescription,
  CompactionState,
  ConnectOptions,
  CreateCollectionOptions,
  Credentials,
  DatabaseDescription,
  DeleteOptions,
  FieldDefinition,
  GetOptions,
  Hit,
  HybridSearchOptions,
  ImportJob,
  ImportJobOptions,
  ImportJobSummary,
  IndexDescription,
  IndexParams,
  InsertOptions,
  LoadState,
  PartitionName,
  PrimaryKey,
  Properties,
  QueryOptions,
  ResourceGroupConfig,
  ResourceGroupDescription,
  Row,
  SearchIteratorOptions,
  SearchOptions,
  UpsertOptions,
} from "./types.ts";

const TIMEOUT_MS = 30_000;

/** A flush writes objects, a load reads them. */
const SLOW_TIMEOUT_MS = 120_000;

const POLL_MS_MIN = 100;
const POLL_MS_MAX = 1_000;

type World = Pick<Caller, "clock" | "random">;
const REAL_WORLD: World = { clock: systemClock, random: systemRandom };

export class VdbClient {
  readonly #caller: Caller;
  readonly #timeoutMs: number;
  /** In every body that does not say otherwise. */
  readonly #inDatabase: { dbName?: string };
  readonly #close: () => Promise<void>;
  readonly #ids = new IdReserve(async (count) => (await this.reserveIds({ count })).firstId);
  /** Timestamps of this client's newest writes, by collection name. */
  readonly #lastWrites = new Map<string, string>();

  private constructor(
    bus: Bus,
    options: { timeoutMs?: number; database?: string; credentials?: Credentials; world?: World },
    close: () => Promise<void>,
  ) {
    const { timeoutMs = TIMEOUT_MS, database, credentials, world = REAL_WORLD } = options;
    const authorization = credentials === undefined ? undefined : basicAuthorization(credentials);
    this.#caller = { bus, doubles: new Slots(DOUBLED_MAX), ...world, authorization };
    this.#timeoutMs = timeoutMs;
    this.#inDatabase = database === undefined ? {} : { dbName: database };
    this.#close = close;
  }

  /** @throws VdbError unavailable */
  static async connect(options: ConnectOptions): Promise<VdbClient> {
    const { user, prefix = "vdb" } = options;
    const inboxPrefix = user === undefined ? "_INBOX" : `_INBOX_${user}`;
    const connection = await connectClient(options, inboxPrefix);
    const logger = createLogger({ level: "silent" });
    const transport = createNatsTransport(connection, inboxPrefix, logger);
    const bus = new Bus({ transport, clock: systemClock, logger, prefix });
    return new VdbClient(bus, options, async () => {
      bus.close();
      await connection.close();
    });
  }

  /** Over the bus of a node in this process: rows and hits go by reference. Closing the client leaves the bus open. */
  static inProcess(
    bus: Bus,
    options: { timeoutMs?: number; database?: string; credentials?: Credentials; world?: World } = {},
  ): VdbClient {
    return new VdbClient(bus, options, () => Promise.resolve());
  }

  /** Calls still running fail as canceled. */
  close(): Promise<void> {
    return this.#close();
  }

  async createCollection(options: CreateCollectionOptions): Promise<void> {
    await this.#call(api.createCollection, { ...options });
  }

  /** Never repeated: a late repetition could drop a collection created under the name meanwhile. */
  async dropCollection(options: { collectionName: string }): Promise<void> {
    await this.#callOnce(api.dropCollection, options);
    this.#forget(options.collectionName);
  }

  async hasCollection(options: { collectionName: string }): Promise<boolean> {
    return (await this.#data<{ has: boolean }>(api.hasCollection, { ...options })).has;
  }

  listCollections(): Promise<string[]> {
    return this.#data(api.listCollections, {});
  }

  /** Its aliases stay with it. Never repeated: a repetition would not find the old name. */
  async renameCollection(options: {
    collectionName: string;
    newCollectionName: string;
    newDbName?: string;
  }): Promise<void> {
    await this.#callOnce(api.renameCollection, options);
    this.#forget(options.collectionName);
  }

  /** Removes all rows; schema, indexes, partitions and load state stay. */
  async truncateCollection(options: { collectionName: string }): Promise<void> {
    // A repetition must not remove what was written after the first time.
    await this.#call(api.truncateCollection, { ...options, requestId: this.#caller.random.ulid() });
  }

  async alterCollectionProperties(options: { collectionName: string; properties: Properties }): Promise<void> {
    await this.#call(api.alterCollectionProperties, { ...options });
  }

  async dropCollectionProperties(options: { collectionName: string; propertyKeys: string[] }): Promise<void> {
    await this.#call(api.dropCollectionProperties, { ...options });
  }

  /** Never repeated: a repetition could not tell its own database from another's of that name. */
  async createDatabase(options: { dbName: string; properties?: Properties }): Promise<void> {
    await this.#callOnce(api.createDatabase, options);
  }

  /** Refused while it has collections. Never repeated: a repetition would not find it. */
  async dropDatabase(options: { dbName: string }): Promise<void> {
    await this.#callOnce(api.dropDatabase, options);
  }

  listDatabases(): Promise<string[]> {
    return this.#data(api.listDatabases, {});
  }

  describeDatabase(options: { dbName: string }): Promise<DatabaseDescription> {
    return this.#data(api.describeDatabase, { ...options });
  }

  async alterDatabaseProperties(options: { dbName: string; properties: Properties }): Promise<void> {
    await this.#call(api.alterDatabaseProperties, { ...options });
  }

  async dropDatabaseProperties(options: { dbName: string; propertyKeys: string[] }): Promise<void> {
    await this.#call(api.dropDatabaseProperties, { ...options });
  }

  /** Another name for the collection, valid wherever a collection's name is, except for dropping it. */
  async createAlias(options: { collectionName: string; aliasName: string }): Promise<void> {
    await this.#call(api.createAlias, { ...options });
  }

  /** Points an alias to another collection. Never repeated: a late repetition could undo a later change. */
  async alterAlias(options: { collectionName: string; aliasName: string }): Promise<void> {
    await this.#callOnce(api.alterAlias, options);
    this.#forget(options.aliasName);
  }

  /** Never repeated: a repetition would not find it. */
  async dropAlias(options: { aliasName: string }): Promise<void> {
    await this.#callOnce(api.dropAlias, options);
    this.#forget(options.aliasName);
  }

  describeAlias(options: { aliasName: string }): Promise<AliasDescription> {
    return this.#data(api.describeAlias, { ...options });
  }

  /** Of one collection, or of the whole database. */
  listAliases(options: { collectionName?: string } = {}): Promise<string[]> {
    return this.#data(api.listAliases, { ...options });
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
    /** One for all replicas, or one for each. */
    resourceGroups?: string[];
    /** Checked; all fields are served. */
    loadFields?: string[];
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
      const { loadState, loadProgress = 0, message = "" } = await this.getLoadState({ collectionName });
      if (loadState === "LoadStateLoaded") return;
      if (loadState === "LoadStateNotLoad") {
        throw new VdbError("collection_not_loaded", `collection not loaded[collection=${collectionName}]`);
      }
      if (clock.monotonic() + pause >= deadline) {
        throw new VdbError(
          "collection_not_fully_loaded",
          `collection not fully loaded[collection=${collectionName}]: ${loadProgress} % after ${timeoutMs} ms${message === "" ? "" : `: ${message}`}`,
        );
      }
      await clock.sleep(pause);
    }
  }

  async releaseCollection(options: { collectionName: string }): Promise<void> {
    await this.#call(api.releaseCollection, { ...options });
  }

  async getLoadState(options: { collectionName: string; partitionNames?: string[] }): Promise<LoadState> {
    const { data, message } = await this.#call(api.getLoadState, { ...options });
    return typeof message === "string" && message !== "" ? { ...(data as LoadState), message } : (data as LoadState);
  }

  /** Does nothing when there is a partition of that name already. */
  async createPartition(options: PartitionName): Promise<void> {
    await this.#call(api.createPartition, { ...options });
  }

  /**
   * Drops a partition with its rows; it must be released. Never repeated: a late repetition could drop one created
   * meanwhile.
   */
  async dropPartition(options: PartitionName): Promise<void> {
    await this.#callOnce(api.dropPartition, options);
  }

  async hasPartition(options: PartitionName): Promise<boolean> {
    return (await this.#data<{ has: boolean }>(api.hasPartition, { ...options })).has;
  }

  listPartitions(options: { collectionName: string }): Promise<string[]> {
    return this.#data(api.listPartitions, { ...options });
  }

  getPartitionStats(options: PartitionName): Promise<{ rowCount: number }> {
    return this.#data(api.getPartitionStats, { ...options });
  }

  /** Begins; getLoadState says how far it is. */
  async loadPartitions(options: { collectionName: string; partitionNames: string[] }): Promise<void> {
    await this.#call(api.loadPartitions, { ...options });
  }

  async releasePartitions(options: { collectionName: string; partitionNames: string[] }): Promise<void> {
    await this.#call(api.releasePartitions, { ...options });
  }

  /** The field must be nullable; existing rows get its default, or null. Never repeated: a repetition would find the name taken. */
  async addField(options: { collectionName: string; schema: FieldDefinition }): Promise<void> {
    await this.#callOnce(api.addField, options);
  }

  listResourceGroups(): Promise<string[]> {
    return this.#data(api.listResourceGroups, {});
  }

  async describeResourceGroup(options: { name: string }): Promise<ResourceGroupDescription> {
    return (await this.#call(api.describeResourceGroup, { ...options })).resource_group as ResourceGroupDescription;
  }

  async createResourceGroup(options: { name: string; config?: ResourceGroupConfig }): Promise<void> {
    await this.#call(api.createResourceGroup, { ...options });
  }

  async updateResourceGroups(options: { resourceGroups: Record<string, ResourceGroupConfig> }): Promise<void> {
    await this.#call(api.alterResourceGroups, { resource_groups: options.resourceGroups });
  }

  async dropResourceGroup(options: { name: string }): Promise<void> {
    await this.#call(api.dropResourceGroup, { ...options });
  }

  /** Makes one group ask for more nodes and another for fewer. Never repeated: a repetition would move more. */
  async transferNode(options: { source: string; target: string; nodeNum: number }): Promise<void> {
    const { source, target, nodeNum } = options;
    await this.#callOnce(api.transferNode, { sourceRgName: source, targetRgName: target, nodeNum });
  }

  /**
   * Moves replicas of a loaded collection to another group, without a gap in service. Never repeated, like
   * transferNode.
   */
  async transferReplica(options: {
    source: string;
    target: string;
    collectionName: string;
    replicaNum: number;
  }): Promise<void> {
    const { source, target, ...body } = options;
    await this.#callOnce(api.transferReplica, { sourceRgName: source, targetRgName: target, ...body });
  }

  /** Begins an import of files: uploads (`upload://name`), or paths below the data nodes' `data.importDir`. */
  createImportJob(options: ImportJobOptions): Promise<{ jobId: string }> {
    return this.#data(api.createImportJob, { requestId: this.#caller.random.ulid(), ...options });
  }

  describeImportJob(options: { jobId: string }): Promise<ImportJob> {
    return this.#data(api.describeImportJob, { ...options });
  }

  async listImportJobs(options: { collectionName?: string } = {}): Promise<ImportJobSummary[]> {
    return (await this.#data<{ records: ImportJobSummary[] }>(api.listImportJobs, { ...options })).records;
  }

  /** Resolves when everything written before is in objects. Neither durability nor visibility needs this. */
  async flush(options: { collectionName: string; timeoutMs?: number }): Promise<void> {
    const { timeoutMs = SLOW_TIMEOUT_MS, ...body } = options;
    await this.#call(api.flushCollection, body, timeoutMs);
  }

  /**
   * Merges what the collection has in objects and applies its deletes; with `isClustering`, lays it out by the
   * clustering key. Flush first to include all rows. Resolves when it is done; with `wait: false`, when it has begun.
   * @throws VdbError deadline_exceeded when the time is over; invalid_parameter when there is no clustering key; memory_limit
   * when query nodes had no room for some of it, which is left as it was
   */
  async compact(options: {
    collectionName: string;
    isClustering?: boolean;
    wait?: boolean;
    timeoutMs?: number;
  }): Promise<{ compactionID: number }> {
    const { wait = true, timeoutMs = SLOW_TIMEOUT_MS, ...body } = options;
    const begun = await this.#data<{ compactionID: number }>(api.compactCollection, body);
    const { clock } = this.#caller;
    const deadline = clock.monotonic() + timeoutMs;
    for (let pause = POLL_MS_MIN; wait; pause = Math.min(POLL_MS_MAX, pause * 1.5)) {
      const { state, executingPlanNumber, timeoutPlanNumber, reason } = await this.getCompactionState(begun);
      if (state === "Completed" && timeoutPlanNumber > 0) {
        const message = `compaction ${begun.compactionID} is done but for ${timeoutPlanNumber} steps`;
        throw new VdbError("memory_limit", `${message}: ${reason ?? "they were given up"}`);
      }
      if (state === "Completed") break;
      if (clock.monotonic() + pause >= deadline) {
        throw new VdbError(
          "deadline_exceeded",
          `compaction ${begun.compactionID} is not done after ${timeoutMs} ms: ${executingPlanNumber} steps are left`,
        );
      }
      await clock.sleep(pause);
    }
    return begun;
  }

  getCompactionState(options: { compactionID: number }): Promise<CompactionState> {
    return this.#data(api.getCompactionState, { jobID: options.compactionID });
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

  async alterIndexProperties(options: {
    collectionName: string;
    indexName: string;
    properties: Properties;
  }): Promise<void> {
    await this.#call(api.alterIndexProperties, { ...options });
  }

  async dropIndexProperties(options: {
    collectionName: string;
    indexName: string;
    propertyKeys: string[];
  }): Promise<void> {
    await this.#call(api.dropIndexProperties, { ...options });
  }

  async insert(options: InsertOptions): Promise<{ insertCount: number; insertIds: PrimaryKey[] }> {
    return (await this.#write(api.insertEntities, options)) as { insertCount: number; insertIds: PrimaryKey[] };
  }

  async upsert(options: UpsertOptions): Promise<{ upsertCount: number; upsertIds: PrimaryKey[] }> {
    return (await this.#write(api.upsertEntities, options)) as { upsertCount: number; upsertIds: PrimaryKey[] };
  }

  /** Consecutive ids that nobody else gets, for rows of collections with autoID (`firstId`). insert reserves them by itself. */
  reserveIds(options: { count: number }): Promise<{ firstId: number }> {
    return this.#data(api.reserveIds, { ...options });
  }

  async delete(options: DeleteOptions): Promise<{ deleteCount: number }> {
    return (await this.#write(api.deleteEntities, options)) as { deleteCount: number };
  }

  /** Ascending by primary key, whatever the order of the request; missing keys are silently left out. */
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
    const vectors = options.data === undefined ? {} : { data: searchData(options.data) };
    return hitsOfQueries(await this.#call(api.searchEntities, this.#inSession({ ...body, ...vectors }), timeoutMs));
  }

  /** Several searches, combined by a reranker: a list of hits for each query vector, best first. */
  async hybridSearch(options: HybridSearchOptions): Promise<Hit[][]> {
    const { timeoutMs, ...body } = options;
    const search = options.search.map((one) => ({ ...one, data: searchData(one.data) }));
    return hitsOfQueries(await this.#call(api.hybridSearchEntities, this.#inSession({ ...body, search }), timeoutMs));
  }

  /**
   * Batches of hits of one vector, best first, until there are no more or the loop is left; all as of the moment of the
   * first. Rows at one distance come in one batch, so a batch can be smaller than asked for, and larger where all rows
   * are equally far.
   * @throws VdbError invalid_parameter when compaction has taken away what there was then
   */
  searchIterator({ timeoutMs, ...options }: SearchIteratorOptions): AsyncGenerator<Hit[], void> {
    return iterateSearch(options, (request) => this.#call(api.searchEntities, request, timeoutMs));
  }

  async #read(operation: api.PublicOperation, options: { collectionName: string; timeoutMs?: number }): Promise<Row[]> {
    const { timeoutMs, ...body } = options;
    return (await this.#call(operation, this.#inSession(body), timeoutMs)).data as Row[];
  }

  #inSession<T extends { collectionName: string }>(body: T): T & { guaranteeTimestamp?: string } {
    const ts = this.#lastWrites.get(body.collectionName);
    return ts === undefined ? body : Object.assign({}, body, { guaranteeTimestamp: ts });
  }

  async #write(
    operation: api.PublicOperation,
    options: InsertOptions | UpsertOptions | DeleteOptions,
  ): Promise<unknown> {
    const { timeoutMs = this.#timeoutMs, ...body } = options;
    const { collectionName } = options;
    const { clock, random } = this.#caller;
    const deadline = clock.monotonic() + timeoutMs;
    const request = {
      ...body,
      requestId: options.requestId ?? random.ulid(),
      ...(await this.#reserved(options, timeoutMs)),
    };
    const mayRepeatUnanswered = async (leftMs: number) => {
      // An upsert by filter may have written some of its rows already: items would be appended to them once more.
      if (isByFilter(options) && "fieldOps" in options && (options.fieldOps ?? []).length > 0) return false;
      if (operation !== api.upsertEntities || "firstId" in request) return true;
      // Where the database makes the keys, the rows of a repeated upsert would be given other ones.
      this.#ids.forget(collectionName);
      return !(await this.#isAutoId(collectionName, leftMs));
    };
    const left = { timeoutMs: Math.max(1, deadline - clock.monotonic()), mayRepeatUnanswered };
    const reply = await callPublic(this.#caller, operation, { ...this.#inDatabase, ...request }, left);
    if (typeof reply.sessionTs === "string") this.#noteWrite(collectionName, reply.sessionTs);
    return reply.data;
  }

  /** Reserves ids for rows that bring none, so that the request can be repeated. */
  async #reserved(options: InsertOptions | DeleteOptions, timeoutMs: number): Promise<{ firstId?: number }> {
    if (!("data" in options) || options.firstId !== undefined) return {};
    if (!(await this.#isAutoId(options.collectionName, timeoutMs))) return {};
    const { clock } = this.#caller;
    const late = new AbortController();
    // Several calls may wait for the same reserve, each for as long as it has.
    const expired = clock.sleep(timeoutMs, late.signal).then(() => {
      throw new VdbError("deadline_exceeded", `no ids for the rows after ${timeoutMs} ms: nothing was inserted`);
    });
    try {
      const count = Array.isArray(options.data) ? options.data.length : 1;
      return { firstId: await Promise.race([this.#ids.take(count), expired]) };
    } finally {
      late.abort();
      expired.catch(() => undefined);
    }
  }

  /** If there is no such collection, the write itself will say so. */
  #isAutoId(collectionName: string, timeoutMs: number): Promise<boolean> {
    return this.#ids.isAutoId(collectionName, async () => {
      try {
        const { data } = await this.#call(api.describeCollection, { collectionName }, timeoutMs);
        return (data as CollectionDescription).autoId;
      } catch (error) {
        if (isVdbError(error, "collection_not_found")) return undefined;
        throw error;
      }
    });
  }

  /** Forgets what is known about a name that stands for something else now. */
  #forget(collectionName: string): void {
    this.#lastWrites.delete(collectionName);
    this.#ids.forget(collectionName);
  }

  #noteWrite(collectionName: string, ts: string): void {
    const known = this.#lastWrites.get(collectionName);
    if (known === undefined || BigInt(ts) > BigInt(known)) this.#lastWrites.set(collectionName, ts);
  }

  async #data<T>(operation: api.PublicOperation, body: Record<string, unknown>): Promise<T> {
    return (await this.#call(operation, body)).data as T;
  }

  async #callOnce(operation: api.PublicOperation, body: object): Promise<void> {
    const options = { timeoutMs: this.#timeoutMs, mayRepeatUnanswered: () => Promise.resolve(false) };
    await callPublic(this.#caller, operation, { ...this.#inDatabase, ...body }, options);
  }

  #call(operation: api.PublicOperation, body: object, timeoutMs = this.#timeoutMs): Promise<api.PublicReply> {
    return callPublic(
      this.#caller,
      operation,
      { ...this.#inDatabase, ...body },
      { timeoutMs, mayRepeatUnanswered: () => Promise.resolve(true) },
    );
  }
}

function isByFilter(options: InsertOptions | UpsertOptions | DeleteOptions): boolean {
  return "data" in options && "filter" in options && options.filter !== undefined;
}

function basicAuthorization({ userName, password }: Credentials): string {
  return `Basic ${Buffer.from(`${userName}:${password}`).toString("base64")}`;
}
