/**
 * The search engine over FAISS: keeps one host process and hides its deaths.
 *
 * Owns     the host process, the record of what is loaded in it, the queue of searches
 * Invariants
 *   F1. Every search ends: with its neighbours, an error or its deadline.
 *   F2. A host serves only when every index is loaded in it; hosts change places at once.
 *   F3. A search is sent at most twice: again only when the host that had it died.
 *   F4. Loads, recycling and restarts run one at a time.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { join } from "node:path";
import type { Clock } from "../clock.ts";
import { errorMessage, VdbError } from "../errors.ts";
import type { Logger } from "../logger.ts";
import type { EngineObserved, IndexToLoad, Neighbours, SearchEngine, SearchOptions } from "./engine.ts";
import { HostConnection, HostEndedError } from "./host-connection.ts";
import { type LoadMessage, newSearchFrame, type ReplyFrame } from "./host-protocol.ts";
import { checkFileIsIndex, inspectIndexFile } from "./index-file.ts";
import type { SearchParams } from "./index-params.ts";
import { normaliseRows } from "./normalise.ts";
import { asFloat32, type DenseVectors } from "./packed-vectors.ts";
import { assemble, deadlineExceeded, notLoaded, type Placed, type Search, settle, stopped } from "./pending-search.ts";
import { initialEffort, searchEffort } from "./search-effort.ts";
import { createTurnScanner } from "./turn-scanner.ts";

export interface FaissEngineOptions {
  clock: Clock;
  logger: Logger;
  /** OpenMP threads of the host: how many queries of one index run at the same time. */
  threads: number;
  /** A directory for short-lived copies of index files: a subdirectory is created in it, and removed on dispose. */
  scratchDir: string;
  /** Growth of the host's memory at which it is replaced. */
  recycleBytes?: number;
}

/** 512 MiB: some 500,000 searches of 256 dimensions, against a second or so of loading everything once more. */
const RECYCLE_BYTES = 512 * 2 ** 20;

/** With more waiting, callers are told to slow down: at 1,000 searches a second it is four seconds of waiting. */
const QUEUE_MAX = 4096;

/** Searches in one write: enough to keep every thread busy, few enough that the first answers come soon. */
const BATCH_MAX = 32;

/** Most queries of one search that travel and run together; larger searches are divided, so that others get in between. */
const PART_QUERIES_MAX = 64;

/** A host that lived this long did not die of the indexes that it was started with. */
const HEALTHY_MS = 10_000;

/**
 * After this many deaths in a row waiting callers get an error. The host is still restarted, at growing intervals.
 */
const CRASHES_MAX = 5;
const BACKOFF_MS_MIN = 100;
const BACKOFF_MS_MAX = 30_000;

/** An index that killed this many hosts in a row is damaged in a way that only FAISS notices. */
const INDEX_CRASHES_MAX = 2;

export async function createFaissEngine(options: FaissEngineOptions): Promise<SearchEngine> {
  const scratchDir = await mkdtemp(join(options.scratchDir, "faiss-"));
  return new FaissEngine({ recycleBytes: RECYCLE_BYTES, ...options, scratchDir });
}

class FaissEngine implements SearchEngine {
  readonly hasFilter = false;
  readonly scanExact: SearchEngine["scanExact"];
  readonly #options: Required<FaissEngineOptions>;
  readonly #stop = new AbortController();
  readonly #placed = new Map<string, Placed>();
  readonly #queue: Search[] = [];
  /** The serving host: none before the first load, and none between a death and the next host. */
  #host: HostConnection | undefined;
  /** Every living host and its searches: the serving one, one that starts, replaced ones that still finish. */
  readonly #hosts = new Map<HostConnection, Map<number, Search>>();
  #lastBatch = 1;
  #chain: Promise<unknown> = Promise.resolve();
  #nextIndexNumber = 1;
  #nextSearchId = 1;
  #startedAt = 0;
  #crashes = 0;
  #crashReason = "";
  #isRestarting: boolean = false;
  #recycleAtMiB: number;
  readonly #counts = { searches: 0, restarts: 0, recycles: 0 };

  constructor(options: Required<FaissEngineOptions>) {
    this.#options = options;
    this.#recycleAtMiB = mebibytes(options.recycleBytes);
    this.scanExact = createTurnScanner(options.clock).scanExact;
  }

  // ---- indexes

  async load(indexKey: string, file: string, index: IndexToLoad): Promise<{ memoryBytes: number }> {
    const info = await inspectIndexFile(file);
    checkFileIsIndex(info, index);
    if (info.packed !== undefined) {
      const about = `${index.type} of ${index.vectorType ?? info.packed}`;
      throw new VdbError("index_unsupported", `faiss-node cannot search ${about}: its rows are scanned instead`);
    }
    const message: LoadMessage = {
      kind: "load",
      number: this.#nextIndexNumber++,
      file,
      effort: initialEffort(index),
      ...(info.effort === undefined ? {} : { effortField: info.effort }),
    };
    const placed: Placed = { key: indexKey, index, memoryBytes: info.bytes, message, crashes: 0 };
    await this.#serially(() => this.#place(placed));
    return { memoryBytes: info.bytes };
  }

  async #place(placed: Placed): Promise<void> {
    while (!(await this.#tryToPlace(placed)));
    this.unload(placed.key);
    this.#placed.set(placed.key, placed);
  }

  /** False when the host died of it for the first time. @throws VdbError corrupt, not_ready */
  async #tryToPlace(placed: Placed): Promise<boolean> {
    if (this.#isBroken()) throw new VdbError("not_ready", this.#brokenMessage());
    let host: HostConnection;
    try {
      host = await this.#hostOrStart();
    } catch (error) {
      this.#noteCrash(errorMessage(error));
      throw new VdbError("not_ready", `no search host can be started: ${errorMessage(error)}`, { cause: error });
    }
    try {
      await this.#loadInto(host, placed);
      return true;
    } catch (error) {
      if (error instanceof HostEndedError) return false;
      throw error;
    }
  }

  /** @throws VdbError corrupt, also when it was the second host that died of it; HostEndedError when it was the first */
  async #loadInto(host: HostConnection, placed: Placed): Promise<void> {
    try {
      await host.load(placed.message);
      placed.crashes = 0;
    } catch (error) {
      if (!(error instanceof HostEndedError) || ++placed.crashes < INDEX_CRASHES_MAX) throw error;
      throw new VdbError(
        "corrupt",
        `${INDEX_CRASHES_MAX} search hosts died opening ${placed.message.file}: ${error.message}`,
      );
    }
  }

  unload(indexKey: string): void {
    const placed = this.#placed.get(indexKey);
    if (placed === undefined) return;
    this.#placed.delete(indexKey);
    for (const host of this.#hosts.keys()) host.unload(placed.message.number);
  }

  // ---- searches

  async search(
    indexKey: string,
    given: DenseVectors,
    k: number,
    params: SearchParams,
    { deadline, ...filter }: SearchOptions = {},
  ): Promise<Neighbours> {
    refuseFilter(filter);
    const placed = this.#placed.get(indexKey);
    if (placed === undefined) throw notLoaded(indexKey);
    const { dimension, rows, vectorType = "FloatVector" } = placed.index;
    const queries = asFloat32(vectorType, given);
    const nq = queries.length / dimension;
    if (!Number.isInteger(nq) || nq === 0 || !(k >= 1)) {
      throw new Error(`search with ${queries.length} numbers at dimension ${dimension}, k ${k}`);
    }
    this.#refuseWhatCannotRun(deadline);
    // faiss-node refuses a k beyond the rows there are.
    const kFound = Math.min(k, rows);
    const effort = searchEffort(placed.index, rows, params, kFound);
    // So that the next host opens the index with the effort with which it is searched now.
    placed.message.effort = effort;
    const parts: Promise<Neighbours>[] = [];
    for (let start = 0; start < nq; start += PART_QUERIES_MAX) {
      const part = queries.subarray(start * dimension, (start + PART_QUERIES_MAX) * dimension);
      parts.push(this.#searchPart(placed, part, kFound, effort, deadline));
    }
    const found = await Promise.all(parts);
    return found.length === 1 && kFound === k ? found[0]! : assemble(found, nq, k, kFound);
  }

  #searchPart(
    placed: Placed,
    queries: Float32Array,
    k: number,
    effort: number,
    deadline: number | undefined,
  ): Promise<Neighbours> {
    const { dimension, metric } = placed.index;
    const { clock } = this.#options;
    const id = this.#nextSearchId++ >>> 0;
    const head = { id, indexNumber: placed.message.number, nq: queries.length / dimension, k, effort };
    const { frame, queries: target } = newSearchFrame(head, dimension);
    if (metric === "COSINE") normaliseRows(queries, target, dimension);
    else target.set(queries);
    this.#counts.searches++;
    return new Promise((resolve, reject) => {
      const search: Search = { id, placed, frame, sends: 0, isSettled: false, resolve, reject };
      if (deadline !== undefined) {
        search.timer = clock.timer(deadline - clock.monotonic(), () => settle(search, deadlineExceeded()));
      }
      this.#queue.push(search);
      this.#pump();
    });
  }

  #refuseWhatCannotRun(deadline: number | undefined): void {
    if (this.#stop.signal.aborted) throw stopped();
    if (this.#isBroken()) throw new VdbError("segment_not_loaded", this.#brokenMessage());
    if (this.#queue.length >= QUEUE_MAX) {
      throw new VdbError("overloaded", `${QUEUE_MAX} searches already wait for the search host, try again later`);
    }
    if (deadline !== undefined && deadline <= this.#options.clock.monotonic()) throw deadlineExceeded();
  }

  /** Sends waiting searches while the host has at most half a batch left: so it is never idle, and batches grow under load. */
  #pump(): void {
    const host = this.#host;
    if (host === undefined) return;
    const inFlight = this.#hosts.get(host)!;
    while (this.#queue.length > 0 && inFlight.size <= Math.max(1, this.#lastBatch / 2)) {
      const frames: Uint8Array[] = [];
      for (const search of this.#queue.splice(0, BATCH_MAX)) {
        if (search.isSettled) continue;
        search.sends++;
        inFlight.set(search.id, search);
        frames.push(search.frame);
      }
      if (frames.length === 0) continue;
      this.#lastBatch = frames.length;
      host.send(frames);
    }
  }

  #onReply(host: HostConnection, reply: ReplyFrame): void {
    const inFlight = this.#hosts.get(host);
    const search = inFlight?.get(reply.id);
    if (inFlight === undefined || search === undefined)
      throw new Error(`a search host answered unknown search ${reply.id}`);
    inFlight.delete(reply.id);
    settle(search, "error" in reply.result ? this.#searchError(search, reply.result.error) : reply.result);
    if (host === this.#host) {
      if (reply.growthMiB >= this.#recycleAtMiB) this.#recycle(reply.growthMiB);
      this.#pump();
    } else if (inFlight.size === 0) {
      host.kill();
    }
  }

  #searchError({ placed }: Search, message: string): VdbError {
    if (this.#placed.get(placed.key) !== placed) return notLoaded(placed.key);
    return new VdbError("internal", `search of index ${placed.key} failed: ${message}`);
  }

  // ---- hosts

  /** Runs tasks one after the other, whether earlier ones failed or not. */
  #serially<T>(task: () => Promise<T>): Promise<T> {
    const run = this.#chain.then(() => {
      if (this.#stop.signal.aborted) throw stopped();
      return task();
    });
    this.#chain = run.catch(() => {});
    return run;
  }

  async #hostOrStart(): Promise<HostConnection> {
    if (this.#host !== undefined) return this.#host;
    const host = await this.#startHost();
    this.#takeOver(host);
    return host;
  }

  /** A new host with every index in it. @throws HostEndedError */
  async #startHost(): Promise<HostConnection> {
    if (this.#stop.signal.aborted) throw stopped();
    const { clock, threads, scratchDir } = this.#options;
    this.#startedAt = clock.monotonic();
    const host = new HostConnection({
      threads,
      scratchDir,
      onReply: (reply) => this.#onReply(host, reply),
      onEnd: (how) => this.#onEnd(host, how),
    });
    this.#hosts.set(host, new Map());
    await host.ready;
    // Unloading meanwhile takes an index out of the map and, by the order of messages, out of this host too.
    for (const placed of this.#placed.values()) {
      try {
        await this.#loadInto(host, placed);
      } catch (error) {
        if (!(error instanceof HostEndedError)) this.#giveUp(placed, error);
        if (host.hasEnded) throw error;
      }
    }
    if (host.hasEnded) throw new HostEndedError("search host died while it was loading");
    return host;
  }

  /** From now on its searches fail with segment_not_loaded, so the caller notices and can load it again. */
  #giveUp(placed: Placed, error: unknown): void {
    this.#options.logger.error({ indexKey: placed.key, error: errorMessage(error) }, "index could not be opened again");
    if (this.#placed.get(placed.key) === placed) this.unload(placed.key);
  }

  #takeOver(host: HostConnection): void {
    const replaced = this.#host;
    this.#host = host;
    this.#lastBatch = 1;
    this.#recycleAtMiB = mebibytes(this.#options.recycleBytes);
    if (replaced !== undefined && this.#hosts.get(replaced)?.size === 0) replaced.kill();
    this.#pump();
  }

  #recycle(growthMiB: number): void {
    // Not again for the same growth, should this fail.
    this.#recycleAtMiB = growthMiB + mebibytes(this.#options.recycleBytes);
    this.#serially(async () => {
      this.#takeOver(await this.#startHost());
      this.#counts.recycles++;
    }).catch((error: unknown) => {
      if (this.#stop.signal.aborted) return;
      this.#options.logger.warn({ growthMiB, error: errorMessage(error) }, "search host could not be recycled");
    });
  }

  #onEnd(host: HostConnection, how: string): void {
    const unanswered = [...this.#hosts.get(host)!.values()].filter((search) => !search.isSettled);
    this.#hosts.delete(host);
    for (const search of unanswered.reverse()) {
      if (search.sends < 2) this.#queue.unshift(search);
      else
        settle(search, new VdbError("segment_not_loaded", `two search hosts died with this search, the second ${how}`));
    }
    if (this.#stop.signal.aborted) return;
    if (host !== this.#host) {
      this.#pump();
      return;
    }
    this.#host = undefined;
    this.#noteCrash(how);
    this.#options.logger.warn({ how, unanswered: unanswered.length, crashes: this.#crashes }, "search host died");
    void this.#restart();
  }

  #noteCrash(how: string): void {
    const livedMs = this.#options.clock.monotonic() - this.#startedAt;
    this.#crashes = livedMs > HEALTHY_MS ? 1 : this.#crashes + 1;
    this.#crashReason = how;
    if (this.#isBroken()) this.#failQueue(new VdbError("segment_not_loaded", this.#brokenMessage()));
  }

  /** Starts hosts until one serves: at once after one death, then after longer and longer pauses. Never rejects. */
  async #restart(): Promise<void> {
    if (this.#isRestarting) return;
    this.#isRestarting = true;
    while (this.#host === undefined && this.#placed.size > 0 && !this.#stop.signal.aborted) {
      try {
        if (this.#crashes > 1) await this.#options.clock.sleep(backoffMs(this.#crashes), this.#stop.signal);
        await this.#serially(() => this.#hostOrStart());
        this.#counts.restarts++;
      } catch (error) {
        if (!this.#stop.signal.aborted) this.#noteCrash(errorMessage(error));
      }
    }
    this.#isRestarting = false;
    // Without an index there is nothing to start a host for, and waiting searches are for one that was given up.
    if (this.#host === undefined)
      this.#failQueue(new VdbError("segment_not_loaded", `search host is gone: ${this.#crashReason}`));
  }

  #isBroken(): boolean {
    return this.#host === undefined && this.#crashes >= CRASHES_MAX;
  }

  #brokenMessage(): string {
    return `search host died ${this.#crashes} times in a row, it is tried again within ${BACKOFF_MS_MAX / 1000} s: ${this.#crashReason}`;
  }

  #failQueue(error: VdbError): void {
    for (const search of this.#queue.splice(0)) settle(search, error);
  }

  observe(): EngineObserved {
    let memoryBytes = 0;
    for (const placed of this.#placed.values()) memoryBytes += placed.memoryBytes;
    let inFlight = 0;
    for (const searches of this.#hosts.values()) inFlight += searches.size;
    return {
      indexes: this.#placed.size,
      memoryBytes,
      queued: this.#queue.length,
      inFlight,
      hostPid: this.#host?.pid ?? null,
      hostGrowthBytes: (this.#host?.growthMiB ?? 0) * 2 ** 20,
      ...this.#counts,
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    this.#failQueue(stopped());
    const hosts = [...this.#hosts.keys()];
    for (const [host, searches] of this.#hosts) {
      for (const search of searches.values()) settle(search, stopped());
      host.kill();
    }
    await Promise.all(hosts.map((host) => host.closed));
    await this.#chain;
    await rm(this.#options.scratchDir, { recursive: true, force: true });
  }
}

/** @throws VdbError unimplemented */
function refuseFilter({ allow, radius, rangeFilter }: SearchOptions): void {
  if (allow === undefined && radius === undefined && rangeFilter === undefined) return;
  throw new VdbError("unimplemented", "this search engine has neither filters nor ranges");
}

function backoffMs(crashes: number): number {
  return Math.min(BACKOFF_MS_MAX, BACKOFF_MS_MIN * 2 ** (crashes - 2));
}

function mebibytes(bytes: number): number {
  return Math.ceil(bytes / 2 ** 20);
}
