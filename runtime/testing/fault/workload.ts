/**
 * Clients that use a collection in every way, and the history of what they saw. It knows neither wall clock nor process:
 * client, clock and random numbers are given, so it drives real clusters and simulated ones.
 *
 * Rows
 *   static   [0, staticRows): written before anything else, never changed. Questions about them have one right answer
 *   shared   [SHARED_FIRST, + SHARED_KEYS): upserted and deleted by everybody
 *   own      of a client, from its number * OWN_STEP on: each inserted once by it, then upserted and deleted by it; read by all
 *
 * A key is inserted once at most, and one whose insert has an unknown outcome is never written again: inserts do not look
 * for their keys, so a late one would make a second row of a key in a database that does nothing wrong.
 */
import type {
  CreateCollectionOptions,
  DeleteOptions,
  GetOptions,
  Hit,
  IndexParams,
  InsertOptions,
  QueryOptions,
  Row,
  SearchOptions,
} from "../../../client/types.ts";
import type { Clock } from "../../clock.ts";
import { type ErrorKind, errorMessage, isVdbError, VdbError } from "../../errors.ts";
import type { History, Level, Operation, ReadOperation, RowVersion } from "./history.ts";
import { exactNearest, problemOfHits, vectorOf, wrongDistance } from "./row-vectors.ts";

/** What the workload needs of a client: VdbClient has it. */
export interface WorkloadClient {
  createCollection(options: CreateCollectionOptions): Promise<void>;
  createIndex(options: { collectionName: string; indexParams: IndexParams[] }): Promise<void>;
  loadCollection(options: { collectionName: string; replicaNumber?: number; timeoutMs?: number }): Promise<void>;
  flush(options: { collectionName: string; timeoutMs?: number }): Promise<void>;
  insert(options: InsertOptions): Promise<unknown>;
  upsert(options: InsertOptions): Promise<unknown>;
  delete(options: DeleteOptions): Promise<unknown>;
  get(options: GetOptions): Promise<Row[]>;
  query(options: QueryOptions): Promise<Row[]>;
  search(options: SearchOptions): Promise<Hit[][]>;
  /** The timestamp of the newest write that was answered, where it can be told. */
  lastTimestamp?(): bigint | undefined;
}

export interface WorkloadOptions {
  collectionName: string;
  /** One for each concurrent client. */
  clients: readonly WorkloadClient[];
  clock: Pick<Clock, "monotonic" | "sleep">;
  /** A generator in [0, 1) for each client, by its number. */
  randomOf: (client: number) => () => number;
  history: History;
  /** Between two operations of a client. */
  pauseMs?: number;
  /** Of the collection; SHARDS unless given. */
  shards?: number;
  /** STATIC_ROWS unless given. */
  staticRows?: number;
  /** Whether the primary key is a clustering key, too. */
  isClustered?: boolean;
}

/** As many as there are channels of the log: each of them matters. */
export const SHARDS = 4;

export const STATIC_ROWS = 400;
const SHARED_FIRST = 10_000;
const SHARED_KEYS = 48;
const OWN_STEP = 1_000_000;

const PAUSE_MS = 30;

/** Rows of a range that a query or a delete by filter covers. */
const RANGE_KEYS = 60;

const LEVELS: readonly Level[] = ["Strong", "Strong", "Strong", "Session", "Session", "Bounded", "Eventually"];

/** Wide enough that HNSW in segments of some hundreds of rows finds what an exact search does. */
export const WIDE_SEARCH = { params: { ef: 512 } };

/** Refused before anything was done. Whatever else a write ends with, an earlier attempt of it may have been applied. */
const REFUSED: readonly ErrorKind[] = [
  "invalid_parameter",
  "missing_parameter",
  "invalid_insert_data",
  "malformed_request",
];

/** Makes the collection with its static rows, indexed and loaded on two replicas. */
export async function prepareCollection(options: WorkloadOptions, replicaNumber = 2): Promise<void> {
  const { collectionName, shards = SHARDS, staticRows = STATIC_ROWS, isClustered = false } = options;
  const client = options.clients[0]!;
  await client.createCollection({
    collectionName,
    schema: {
      fields: [
        { fieldName: "id", dataType: "Int64", isPrimary: true, ...(isClustered ? { isClusteringKey: true } : {}) },
        { fieldName: "version", dataType: "Int64" },
        { fieldName: "vector", dataType: "FloatVector", elementTypeParams: { dim: vectorOf(0, 0).length } },
      ],
    },
    params: { shardsNum: shards },
  });
  await client.createIndex({
    collectionName,
    indexParams: [{ fieldName: "vector", indexType: "HNSW", metricType: "L2", params: { M: 16, efConstruction: 128 } }],
  });
  // Half of them before the load and in objects, half after it and in the log.
  const rows = Array.from({ length: staticRows }, (_, key) => rowOf({ key, version: 0 }));
  await client.insert({ collectionName, data: rows.slice(0, staticRows / 2) });
  await client.flush({ collectionName });
  await client.loadCollection({ collectionName, replicaNumber });
  await client.insert({ collectionName, data: rows.slice(staticRows / 2) });
}

export interface Workload {
  /** Ends the clients' loops, and resolves when the last call has. */
  stop(): Promise<void>;
  /** Reads everything, Strong, into the history: once nothing is broken and nobody writes. @throws VdbError unavailable */
  readAll(): Promise<void>;
}

export function startWorkload(options: WorkloadOptions): Workload {
  const stopping = { isAsked: false };
  const members = options.clients.map((client, i) => new Member(options, client, i + 1));
  const running = members.map((member) => member.run(members, stopping));
  return {
    async stop() {
      stopping.isAsked = true;
      await Promise.all(running);
    },
    readAll: () => members[0]!.readAll(members),
  };
}

class Member {
  readonly #number: number;
  readonly #options: WorkloadOptions;
  readonly #client: WorkloadClient;
  readonly #staticRows: number;
  readonly #random: () => number;
  readonly #firstKey: number;
  #nextKey: number;
  #nextVersion: number;
  /** Keys whose insert nobody knows the outcome of. */
  readonly #abandoned = new Set<number>();

  constructor(options: WorkloadOptions, client: WorkloadClient, number: number) {
    this.#options = options;
    this.#client = client;
    this.#staticRows = options.staticRows ?? STATIC_ROWS;
    this.#number = number;
    this.#random = options.randomOf(number);
    this.#firstKey = number * OWN_STEP;
    this.#nextKey = this.#firstKey;
    this.#nextVersion = number * OWN_STEP * 1000;
  }

  async run(members: readonly Member[], stopping: { isAsked: boolean }): Promise<void> {
    const { clock, pauseMs = PAUSE_MS } = this.#options;
    while (!stopping.isAsked) {
      await this.#step(members);
      await clock.sleep(pauseMs * (0.5 + this.#random()));
    }
  }

  #step(members: readonly Member[]): Promise<void> {
    const steps: [number, () => Promise<void>][] = [
      [14, () => this.#insert()],
      [8, () => this.#upsertOwn()],
      [8, () => this.#upsertShared()],
      [5, () => this.#deleteListed(this.#someOwn(6))],
      [3, () => this.#deleteListed(this.#someShared(2))],
      [3, () => this.#deleteRange()],
      [14, () => this.#get([...this.#someOwn(8), ...this.#someShared(8)])],
      [6, () => this.#get(this.#pick(members).#someOwn(10))],
      [8, () => this.#queryRange(this.#pick(members))],
      [5, () => this.#queryShared()],
      [10, () => this.#search()],
      [6, () => this.#searchAllStatic()],
      [6, () => this.#searchNearestStatic()],
      [4, () => this.#countStatic()],
      [0.4, () => this.#flush()],
      [0.4, () => this.#load()],
    ];
    let at = this.#random() * steps.reduce((sum, [weight]) => sum + weight, 0);
    for (const [weight, step] of steps) {
      at -= weight;
      if (at < 0) return step();
    }
    return steps[0]![1]();
  }

  async #insert(): Promise<void> {
    const count = 1 + Math.floor(this.#random() * 24);
    const rows = Array.from({ length: count }, () => ({ key: this.#nextKey++, version: this.#nextVersion++ }));
    // Not to be read before it is sent, nor written by anything else before it is answered: that is this loop.
    const outcome = await this.#put("insert", rows);
    if (outcome !== "ok") for (const { key } of rows) this.#abandoned.add(key);
  }

  #upsertOwn(): Promise<void> {
    return this.#upsert(this.#someOwn(8));
  }

  #upsertShared(): Promise<void> {
    return this.#upsert(this.#someShared(6));
  }

  async #upsert(keys: readonly number[]): Promise<void> {
    const rows = keys.filter((key) => !this.#abandoned.has(key)).map((key) => ({ key, version: this.#nextVersion++ }));
    if (rows.length > 0) await this.#put("upsert", rows);
  }

  async #put(kind: "insert" | "upsert", rows: readonly RowVersion[]): Promise<Operation["outcome"]> {
    const { collectionName } = this.#options;
    const data = rows.map(rowOf);
    const { call } = await this.#timed(() => this.#client[kind]({ collectionName, data }));
    this.#record({ kind, ...call, rows, ...this.#stamp(call) });
    return call.outcome;
  }

  async #deleteListed(candidates: readonly number[]): Promise<void> {
    const { collectionName } = this.#options;
    const keys = candidates.filter((key) => !this.#abandoned.has(key));
    if (keys.length === 0) return;
    const { call } = await this.#timed(() =>
      this.#client.delete({ collectionName, filter: `id in [${keys.join(",")}]` }),
    );
    this.#record({ kind: "delete", ...call, keys, isFiltered: false, ...this.#stamp(call) });
  }

  async #deleteRange(): Promise<void> {
    const { collectionName } = this.#options;
    const keys = this.#someRange(12);
    if (keys.length === 0 || keys.some((key) => this.#abandoned.has(key))) return;
    const filter = `id >= ${keys[0]} and id <= ${keys.at(-1)}`;
    const { call } = await this.#timed(() => this.#client.delete({ collectionName, filter }));
    this.#record({ kind: "delete", ...call, keys, isFiltered: true, ...this.#stamp(call) });
  }

  #get(keys: readonly number[]): Promise<void> {
    if (keys.length === 0) return Promise.resolve();
    const { collectionName } = this.#options;
    return this.#read("get", keys, (consistencyLevel) =>
      this.#client.get({ collectionName, id: keys, outputFields: ["id", "version"], consistencyLevel }),
    );
  }

  #queryRange(owner: Member): Promise<void> {
    const keys = owner.#someRange(RANGE_KEYS);
    if (keys.length === 0) return Promise.resolve();
    return this.#read("query", keys, (level) => this.#queryBetween(keys[0]!, keys.at(-1)!, level));
  }

  #queryShared(): Promise<void> {
    const keys = Array.from({ length: SHARED_KEYS }, (_, i) => SHARED_FIRST + i);
    return this.#read("query", keys, (level) => this.#queryBetween(keys[0]!, keys.at(-1)!, level));
  }

  #queryBetween(first: number, last: number, consistencyLevel: Level): Promise<Row[]> {
    const { collectionName } = this.#options;
    const filter = `id >= ${first} and id <= ${last}`;
    return this.#client.query({
      collectionName,
      filter,
      outputFields: ["id", "version"],
      limit: 16_384,
      consistencyLevel,
    });
  }

  /** Nearest rows of those that change: what it finds must be current, and as far away as it says. */
  async #search(): Promise<void> {
    const { collectionName } = this.#options;
    const query = vectorOf(Math.floor(this.#random() * 1000), Math.floor(this.#random() * 1000));
    const level = this.#level();
    let wrong: string | null = null;
    await this.#read(
      "search",
      null,
      async (consistencyLevel) => {
        const [hits = []] = await this.#client.search({
          collectionName,
          data: [query],
          limit: 20,
          filter: `id >= ${SHARED_FIRST}`,
          outputFields: ["id", "version"],
          consistencyLevel,
        });
        wrong = wrongDistance(query, hits);
        return hits;
      },
      level,
    );
    if (wrong !== null) this.#recordStatic({ ...this.#instant(), level, what: "distances of hits", problem: wrong });
  }

  async #searchAllStatic(): Promise<void> {
    const query = vectorOf(Math.floor(this.#random() * this.#staticRows), 0);
    await this.#searchStatic(`all ${this.#staticRows} static rows`, query, this.#staticRows, this.#staticRows);
  }

  async #searchNearestStatic(): Promise<void> {
    const query = vectorOf(this.#random() * this.#staticRows, this.#random());
    await this.#searchStatic("nearest 10 static rows", query, 10, 8);
  }

  /** @param rightMin how many of the hits must be among the truly nearest */
  async #searchStatic(what: string, query: Float32Array, limit: number, rightMin: number): Promise<void> {
    const { collectionName } = this.#options;
    const consistencyLevel = this.#level();
    const { call, value } = await this.#timed(() =>
      this.#client.search({
        collectionName,
        data: [query],
        limit,
        filter: `id >= 0 and id < ${this.#staticRows}`,
        outputFields: ["id", "version"],
        consistencyLevel,
        searchParams: WIDE_SEARCH,
      }),
    );
    const problem =
      value === undefined
        ? null
        : problemOfHits(query, value[0] ?? [], exactNearest(query, this.#staticRows, limit), rightMin);
    this.#recordStatic({ ...call, level: consistencyLevel, what, ...(problem === null ? {} : { problem }) });
  }

  async #countStatic(): Promise<void> {
    const { collectionName } = this.#options;
    const level = this.#level();
    const { call, value } = await this.#timed(() =>
      this.#client.query({
        collectionName,
        filter: `id >= 0 and id < ${this.#staticRows}`,
        outputFields: ["count(*)"],
        consistencyLevel: level,
      }),
    );
    const count = value?.[0]?.["count(*)"];
    const isRight = value === undefined || count === this.#staticRows;
    const problem = `count(*) of ${this.#staticRows} static rows is ${String(count)}`;
    this.#recordStatic({ ...call, level, what: "count of static rows", ...(isRight ? {} : { problem }) });
  }

  async #flush(): Promise<void> {
    const { collectionName } = this.#options;
    const { call } = await this.#timed(() => this.#client.flush({ collectionName, timeoutMs: 30_000 }));
    this.#record({ kind: "flush", ...call });
  }

  async #load(): Promise<void> {
    const { collectionName } = this.#options;
    const { call } = await this.#timed(() =>
      this.#client.loadCollection({ collectionName, replicaNumber: 2, timeoutMs: 30_000 }),
    );
    this.#record({ kind: "load", ...call });
  }

  async readAll(members: readonly Member[]): Promise<void> {
    const ranges = [
      [SHARED_FIRST, SHARED_FIRST + SHARED_KEYS],
      ...members.flatMap((member) => pages(member.#firstKey, member.#nextKey, 4_000)),
    ] as [number, number][];
    let distinctKeys = 0;
    for (const [from, to] of ranges) {
      const keys = Array.from({ length: to - from }, (_, i) => from + i);
      if (keys.length === 0) continue;
      distinctKeys += await this.#readWhole(keys);
    }
    await this.#searchAllStatic();
    await this.#countStatic();
    const { call, value } = await this.#timed(() =>
      this.#client.query({
        collectionName: this.#options.collectionName,
        filter: `id >= ${SHARED_FIRST}`,
        outputFields: ["count(*)"],
        consistencyLevel: "Strong",
      }),
    );
    if (value === undefined) throw new VdbError("unavailable", `the last count failed: ${call.error}`);
    this.#record({ kind: "count", ...call, count: Number(value[0]!["count(*)"]), distinctKeys });
  }

  async #readWhole(keys: readonly number[]): Promise<number> {
    const read = await this.#readOnce(
      "query",
      keys,
      (level) => this.#queryBetween(keys[0]!, keys.at(-1)!, level),
      "Strong",
    );
    if (read.outcome !== "ok") throw new VdbError("unavailable", `the last read failed: ${read.error}`);
    return new Set(read.found.map(({ key }) => key)).size;
  }

  async #read(
    kind: ReadOperation["kind"],
    asked: readonly number[] | null,
    ask: (level: Level) => Promise<readonly Row[]>,
    level = this.#level(),
  ): Promise<void> {
    await this.#readOnce(kind, asked, ask, level);
  }

  async #readOnce(
    kind: ReadOperation["kind"],
    asked: readonly number[] | null,
    ask: (level: Level) => Promise<readonly Row[]>,
    level: Level,
  ): Promise<ReadOperation> {
    const { call, value = [] } = await this.#timed(() => ask(level));
    const found = value.map(({ id, version }) => ({ key: Number(id), version: Number(version) }));
    const read: ReadOperation = { kind, ...call, level, asked, found };
    this.#record(read);
    return read;
  }

  async #timed<T>(ask: () => Promise<T>): Promise<{ call: Timed; value?: T }> {
    const { clock } = this.#options;
    const start = clock.monotonic();
    const client = this.#number;
    try {
      const value = await ask();
      return { call: { client, start, end: clock.monotonic(), outcome: "ok" }, value };
    } catch (error) {
      const outcome = isVdbError(error, ...REFUSED) ? "fail" : "info";
      const kind = isVdbError(error) ? `${error.kind}: ` : "";
      return { call: { client, start, end: clock.monotonic(), outcome, error: `${kind}${errorMessage(error)}` } };
    }
  }

  #instant(): Timed {
    const now = this.#options.clock.monotonic();
    return { client: this.#number, start: now, end: now, outcome: "ok" };
  }

  #stamp({ outcome }: Timed): { timestamp?: bigint } {
    const timestamp = outcome === "ok" ? this.#client.lastTimestamp?.() : undefined;
    return timestamp === undefined ? {} : { timestamp };
  }

  #record(operation: Operation): void {
    this.#options.history.operations.push(operation);
  }

  #recordStatic(read: Timed & { level: Level; what: string; problem?: string }): void {
    this.#record({ kind: "static", ...read });
  }

  #level(): Level {
    return this.#pick(LEVELS);
  }

  #pick<T>(list: readonly T[]): T {
    return list[Math.floor(this.#random() * list.length)]!;
  }

  /** Distinct own keys, half of them among the newest. */
  #someOwn(most: number): number[] {
    const count = this.#nextKey - this.#firstKey;
    const keys = new Set<number>();
    for (let i = 0; i < most && count > 0; i++) {
      const back = this.#random() < 0.5 ? Math.min(count, 40) : count;
      keys.add(this.#nextKey - 1 - Math.floor(this.#random() * back));
    }
    return [...keys];
  }

  #someShared(most: number): number[] {
    const keys = new Set<number>();
    for (let i = 0; i < most; i++) keys.add(SHARED_FIRST + Math.floor(this.#random() * SHARED_KEYS));
    return [...keys];
  }

  /** Own keys that follow one another. */
  #someRange(most: number): number[] {
    const first = this.#someOwn(1)[0];
    if (first === undefined) return [];
    return Array.from({ length: Math.min(most, this.#nextKey - first) }, (_, i) => first + i);
  }
}

interface Timed {
  client: number;
  start: number;
  end: number;
  outcome: Operation["outcome"];
  error?: string;
}

export function rowOf({ key, version }: RowVersion): Row {
  return { id: key, version, vector: vectorOf(key, version) };
}

function pages(from: number, to: number, size: number): [number, number][] {
  const list: [number, number][] = [];
  for (let start = from; start < to; start += size) list.push([start, Math.min(to, start + size)]);
  return list;
}
