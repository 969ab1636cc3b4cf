/**
 * Data node: does the jobs that the coordinator gives out. Native work runs in a child process each, so that a crash
 * costs a job, not a node.
 *
 * Owns     nothing that outlives a job: a job's files are its own, its result counts when the coordinator enters it
 * Serves   data.build-index, data.compact, data.distribute-deletes, data.import, data.import-progress
 * Invariants
 *   J1. A job ends soon after nobody can enter its result any more: its coordinator was replaced, or its shard dropped. It
 *       would only keep those that are wanted waiting.
 */
import type { Actor, ActorContext } from "../runtime/actor.ts";
import { isVdbError, VdbError } from "../runtime/errors.ts";
import { existingCollection } from "../runtime/meta/catalog.ts";
import { type Figures, samplesBy } from "../runtime/metrics/metrics.ts";
import { metaKeys } from "../runtime/protocol/catalog.ts";
import * as data from "../runtime/protocol/data.ts";
import type { CollectionSchema } from "../runtime/schema.ts";
import { Slots } from "../runtime/slots.ts";
import { buildSegmentIndex } from "./datanode/build-segment-index.ts";
import { compactShardSegments } from "./datanode/compact-segments.ts";
import { distributeShardDeletes } from "./datanode/distribute-deletes.ts";
import { importCollectionFile } from "./datanode/import-file.ts";
import type { JobTools } from "./datanode/job-inputs.ts";

/** Requests beyond the jobs that run: they wait in line, or for a run of the same job requested before. */
const JOBS = { concurrency: 64, capacity: 256 };

/** Results that are kept for one who asks again. */
const KEPT_MAX = 64;

const SYNC_TIMEOUT_MS = 10_000;

type Job = Pick<data.BuildIndex, "epoch" | "vchannel">;

const JOB_KINDS = ["build-index", "compact", "distribute-deletes", "import"] as const;
type JobKind = (typeof JOB_KINDS)[number];

interface JobTally {
  /** Those that wait for their turn included. */
  running: number;
  done: number;
  failed: number;
  /** Nobody could enter their results any more. */
  canceled: number;
}

export class DataActor implements Actor {
  readonly #ctx: ActorContext;
  readonly #running = new Map<string, Promise<unknown>>();
  /** Of attempts, the newest last: an answer can be lost on its way, and the work of an hour need not be done again. */
  readonly #results = new Map<string, unknown>();
  /** Index builds and merges share what the machine has, in the order in which they are asked for. */
  readonly #heavy: Slots;
  /** Distributions bound the memory of query nodes, so they do not wait for index builds and merges. */
  readonly #light = new Slots(1);
  /** Imports take long and leave room: index builds do not wait for them. */
  readonly #imports: Slots;
  /** By attempt. */
  readonly #importProgress = new Map<string, data.ImportProgress>();
  readonly #tally = new Map<JobKind, JobTally>(
    JOB_KINDS.map((kind) => [kind, { running: 0, done: 0, failed: 0, canceled: 0 }]),
  );
  /** Of index builds that run, by segment and field: the share of the rows that is done. */
  readonly #builds = new Map<string, number>();

  constructor(ctx: ActorContext) {
    this.#ctx = ctx;
    this.#heavy = new Slots(ctx.config.data.concurrentJobs);
    this.#imports = new Slots(ctx.config.data.concurrentJobs);
  }

  async start(): Promise<void> {
    const ctx = this.#ctx;
    const { nodeId } = ctx;
    ctx.serve(
      data.buildIndex,
      { nodeId },
      (job) =>
        this.#once(
          "build-index",
          `${job.epoch}/${job.segmentId}/${job.fieldId}/${job.indexId}`,
          this.#heavy,
          job,
          (signal) => this.#buildIndex(job, signal),
        ),
      JOBS,
    );
    ctx.serve(
      data.compactSegments,
      { nodeId },
      (job) =>
        this.#once("compact", `${job.epoch}/${job.attempt}`, this.#heavy, job, async (signal) =>
          compactShardSegments(this.#tools(signal), await this.#schemaOf(job), job),
        ),
      JOBS,
    );
    ctx.serve(
      data.distributeDeletes,
      { nodeId },
      (job) =>
        this.#once("distribute-deletes", `${job.epoch}/${job.attempt}`, this.#light, job, async (signal) =>
          distributeShardDeletes(this.#tools(signal), await this.#schemaOf(job), job),
        ),
      JOBS,
    );
    ctx.serve(
      data.importFile,
      { nodeId },
      (job) =>
        this.#once("import", `${job.epoch}/${job.attempt}`, this.#imports, job, (signal) =>
          this.#importFile(job, signal),
        ),
      JOBS,
    );
    ctx.serve(data.importProgress, { nodeId }, async ({ attempts }) => this.#progressOf(attempts), JOBS);
  }

  async #importFile(job: data.ImportFile, signal: AbortSignal): Promise<data.ImportedFile> {
    try {
      return await importCollectionFile(this.#ctx, job, signal, (progress) => {
        this.#importProgress.set(job.attempt, progress);
      });
    } finally {
      this.#importProgress.delete(job.attempt);
    }
  }

  #progressOf(attempts: readonly string[]): (typeof data.importProgress.reply)["_output"] {
    const known = attempts.flatMap((attempt) => {
      const progress = this.#importProgress.get(attempt);
      return progress === undefined ? [] : [[attempt, progress] as const];
    });
    return { attempts: Object.fromEntries(known) };
  }

  observe(): Record<string, unknown> {
    const indexBuilds = Object.fromEntries(this.#builds);
    const finishedJobs = [...this.#tally.values()].reduce(
      (sum, { done, failed, canceled }) => sum + done + failed + canceled,
      0,
    );
    return { runningJobs: this.#running.size, finishedJobs, indexBuilds };
  }

  figures(): Figures {
    const tallies = [...this.#tally];
    return {
      vdb_jobs_running: samplesBy(
        "kind",
        tallies.map(([kind, { running }]) => [kind, running]),
      ),
      vdb_jobs_total: tallies.flatMap(([kind, { running: _, ...ended }]) =>
        Object.entries(ended).map(([outcome, count]) => [{ kind, outcome }, count] as const),
      ),
    };
  }

  async #buildIndex(job: data.BuildIndex, signal: AbortSignal): ReturnType<typeof buildSegmentIndex> {
    const key = `${job.segmentId}/${job.fieldId}`;
    const report = (rowsDone: number) => void this.#builds.set(key, rowsDone / job.rowCount);
    report(0);
    try {
      return await buildSegmentIndex(this.#ctx, job, signal, report);
    } finally {
      this.#builds.delete(key);
    }
  }

  /**
   * Asked twice for the same job in the same epoch, it runs once; of those that name an attempt, also when it has ended.
   * (Of others the objects may have been collected since.)
   */
  #once<T>(kind: JobKind, key: string, slots: Slots, job: Job, run: (signal: AbortSignal) => Promise<T>): Promise<T> {
    if (this.#results.has(key)) return Promise.resolve(this.#results.get(key) as T);
    let running = this.#running.get(key) as Promise<T> | undefined;
    if (running === undefined) {
      const tally = this.#tally.get(kind)!;
      tally.running++;
      running = slots
        .run(() => this.#whileWanted(job, run))
        .then(
          (result) => {
            tally.done++;
            if (kind !== "build-index") this.#keep(key, result);
            return result;
          },
          (error: unknown) => {
            tally[isVdbError(error, "canceled") ? "canceled" : "failed"]++;
            throw error;
          },
        )
        .finally(() => {
          this.#running.delete(key);
          tally.running--;
        });
      this.#running.set(key, running);
    }
    return running;
  }

  #keep(key: string, result: unknown): void {
    this.#results.set(key, result);
    if (this.#results.size <= KEPT_MAX) return;
    const [oldest] = this.#results.keys();
    this.#results.delete(oldest!);
  }

  /** Runs a job whose turn has come, with a signal that aborts when its result can no longer be of use. */
  async #whileWanted<T>(job: Job, run: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const { catalog, signal } = this.#ctx;
    const isOutdated = () => job.epoch < (catalog.epoch()?.epoch ?? 0);
    if (isOutdated()) throw new VdbError("canceled", "the coordinator that asked for the job leads no more");
    const unwanted = new AbortController();
    using _epoch = catalog.cache.subscribe(metaKeys.epoch, () => {
      if (isOutdated()) unwanted.abort();
    });
    using _manifest = catalog.cache.subscribe(metaKeys.manifest(job.vchannel), () => {
      if (catalog.manifest(job.vchannel) === undefined) unwanted.abort();
    });
    return await run(AbortSignal.any([signal, unwanted.signal]));
  }

  #tools(signal: AbortSignal): JobTools {
    const { blobs, clock, random } = this.#ctx;
    return { blobs, clock, random, signal };
  }

  /** The newest, or what is said of it: with an older one, columns of added fields would be left out. */
  async #schemaOf({
    collectionId,
    schemaVersion = 0,
  }: {
    collectionId: number;
    schemaVersion?: number | undefined;
  }): Promise<CollectionSchema> {
    const { catalog, clock } = this.#ctx;
    const isKnown = () => (catalog.collection(collectionId)?.schema.version ?? 0) >= schemaVersion;
    if (!isKnown()) await catalog.cache.sync(clock.monotonic() + SYNC_TIMEOUT_MS);
    const collection = existingCollection(catalog, collectionId);
    return collection.schema;
  }
}
