/**
 * Bulk imports. A job is a document: its files, and of each what was written of it. Data nodes read files and write segments;
 * when all of a job is in objects, one commit gives its rows a timestamp and enters the segments into the shards'
 * manifests, beside what reads see. Indexes are built there, query nodes load them, and one more commit makes the rows of all shards
 * visible and the job completed (see-imports.ts).
 *
 * Invariants
 *   I1. A file's result is entered once: by compare-and-set of the job, while the job still wants it. What another attempt
 *       wrote has other names and is garbage.
 *   I2. Rows get a timestamp allocated after the manifests were read that they enter: of deletes, those up to the
 *       manifest's `deltaSeq` are older than they are, all others they get like any segment.
 *   I3. A job that failed has named nothing in a manifest.
 */
import type { ActorContext } from "../../runtime/actor.ts";
import { askForJob } from "../../runtime/ask-node.ts";
import { asVdbError } from "../../runtime/errors.ts";
import { importFailed, isUpload, uploadedObject } from "../../runtime/import/names.ts";
import { groupBy } from "../../runtime/lists.ts";
import { existingCollection, guardDoc, putDoc } from "../../runtime/meta/catalog.ts";
import { withImport } from "../../runtime/meta/manifest.ts";
import type { MetaOp } from "../../runtime/meta/port.ts";
import {
  type CollectionDoc,
  encodeDoc,
  type ImportDoc,
  type ImportFileDoc,
  metaKeys,
  type SegmentDoc,
} from "../../runtime/protocol/catalog.ts";
import type { CreateImport, ImportState } from "../../runtime/protocol/coordinator.ts";
import { type ImportedFile, type ImportProgress, importFile, importProgress } from "../../runtime/protocol/data.ts";
import { msOfTimestamp } from "../../runtime/timestamps.ts";
import { idleDataNodes } from "./idle-nodes.ts";
import { stateOfImport } from "./import-state.ts";
import type { Leadership } from "./leadership.ts";
import { Rests } from "./rests.ts";
import type { Window } from "./window.ts";

/** Files given to a data node ahead of those that it reads, so that it never waits for the coordinator. */
const JOBS_AHEAD = 1;

/** A file that could not be read through no fault of its own rests this long, and is tried this often at most. */
const RETRY_AFTER_MS = 5_000;
const TRIES_MAX = 5;

/** Unfinished ones, in Milvus. */
const JOBS_MAX = 1024;

/** Of a job: its document names them all, and has room for some five thousand. */
const SEGMENTS_MAX = 4_000;

/** Jobs are remembered this long after they have ended; uploads that no job names, after they were stored. */
const FORGET_AFTER_MS = 86_400_000;
/** With each job that is made: a commit has room for so much. */
const FORGOTTEN_MAX = 100;

interface Running {
  jobId: number;
  file: number;
  nodeId: string;
  attempt: string;
}

interface ImportEvents {
  /** A file has been read, or could not be. */
  onDone(): void;
  /** Something has arrived that the next step of a job waits for. */
  onProgress(): void;
}

export class ImportJobs {
  readonly #ctx: ActorContext;
  readonly #leadership: Leadership;
  readonly #windows: { timestamps: Window };
  readonly #events: ImportEvents;
  /** By job and file. */
  readonly #running = new Map<string, Running>();
  #names: { revision: number; names: ReadonlySet<string> } = { revision: -1, names: new Set() };
  readonly #rests: Rests;
  /** By job and file: how often it may have been the file's doing that it was not read. */
  readonly #failures = new Map<string, number>();
  /** Jobs that are on their way into the catalogue, by collection and request. */
  readonly #creating = new Map<string, Promise<{ jobId: number; revision: number }>>();

  constructor(ctx: ActorContext, leadership: Leadership, windows: { timestamps: Window }, events: ImportEvents) {
    this.#ctx = ctx;
    this.#leadership = leadership;
    this.#windows = windows;
    this.#events = events;
    this.#rests = new Rests(ctx.clock, RETRY_AFTER_MS);
  }

  get running(): number {
    return this.#running.size;
  }

  /** Whether an object is, or may become, one that a job names. */
  mayWrite(objectName: string): boolean {
    for (const { attempt } of this.#running.values()) if (objectName.includes(`/${attempt}-`)) return true;
    return this.#named().has(objectName);
  }

  /** Whether an upload is of no use any more: a job has read it, or none ever asked for it. */
  isUsedUp({ name, storedAt }: { name: string; storedAt: number }): boolean {
    if (!isUpload(name) || this.mayWrite(name)) return false;
    if (this.#ctx.clock.now() - storedAt > FORGET_AFTER_MS) return true;
    return this.#ctx.catalog
      .importJobs()
      .some(
        ({ state, files, endedAtMs = 0 }) =>
          state === "Completed" && storedAt < endedAtMs && files.some(({ object }) => object?.name === name),
      );
  }

  /** One job for each request id. @throws VdbError collection_not_found, import_failed (an upload that is not there, too many jobs) */
  create(request: CreateImport): Promise<{ jobId: number; revision: number }> {
    const key = `${request.collectionId}/${request.requestId ?? request.jobId}`;
    // The same request may come twice at once, from two proxies.
    let created = this.#creating.get(key);
    if (created === undefined) {
      created = this.#create(request).finally(() => this.#creating.delete(key));
      this.#creating.set(key, created);
    }
    return created;
  }

  async #create(request: CreateImport): Promise<{ jobId: number; revision: number }> {
    const { catalog } = this.#ctx;
    const { jobId, collectionId, partitionId, requestId, options } = request;
    const known = catalog
      .importJobs()
      .find(
        (job) =>
          job.jobId === jobId ||
          (requestId !== undefined && job.requestId === requestId && job.collectionId === collectionId),
      );
    if (known !== undefined) return { jobId: known.jobId, revision: catalog.cache.revision };
    const files = await this.#filesOf(request.files);
    const createdAt = await this.#windows.timestamps.allocate(1);
    for (;;) {
      const collection = existingCollection(catalog, collectionId);
      if (this.#live().length >= JOBS_MAX) {
        throw importFailed(`The number of jobs has reached the limit, please try again later, maxJobNum=${JOBS_MAX}`);
      }
      const doc: ImportDoc = {
        jobId,
        collectionId,
        database: collection.database,
        collectionName: collection.name,
        ...(partitionId === undefined ? {} : { partitionId }),
        ...(requestId === undefined ? {} : { requestId }),
        createdAt,
        options,
        state: "Pending",
        isEntered: false,
        files,
        reason: "",
      };
      if (!(await this.#leadership.commit([this.#put(doc), ...this.#forgotten()]))) continue;
      this.#events.onProgress();
      return { jobId, revision: catalog.cache.revision };
    }
  }

  /**
   * @param obstacleOf why segments of a collection are not loaded; empty when they are, or on their way
   * @throws VdbError import_failed of a job that nobody made, or long ago
   */
  async states(
    { jobId, collectionId }: { jobId?: number | undefined; collectionId?: number | undefined },
    obstacleOf: (collectionId: number) => string,
  ) {
    const { catalog } = this.#ctx;
    const wanted = catalog
      .importJobs()
      .filter((job) => jobId === undefined || job.jobId === jobId)
      .filter((job) => collectionId === undefined || job.collectionId === collectionId)
      .sort((a, b) => a.jobId - b.jobId);
    if (jobId !== undefined && wanted.length === 0) throw importFailed(`import job does not exist, jobID=${jobId}`);
    const running = await this.#runningProgress(new Set(wanted.map((job) => job.jobId)));
    const jobs = wanted.map((job): ImportState => {
      const progressOf = (file: number) => running.get(`${job.jobId}/${file}`);
      const collection = catalog.collection(job.collectionId);
      const manifests = collection?.shards.flatMap(({ vchannel }) => catalog.manifest(vchannel) ?? []) ?? [];
      const state = stateOfImport(job, progressOf, { collection, manifests, limits: this.#ctx.config.coordinator });
      const isWaiting = job.isEntered && job.state === "Importing";
      return isWaiting ? { ...state, reason: obstacleOf(job.collectionId) } : state;
    });
    return { jobs, revision: catalog.cache.revision };
  }

  /** Takes every unfinished job one step further. A job that fails holds up no other, nor anything else. */
  async step(): Promise<void> {
    for (const job of this.#live().sort((a, b) => a.jobId - b.jobId)) {
      try {
        await this.#stepJob(job);
      } catch (error) {
        const known = asVdbError(error);
        if (known.kind === "canceled") throw error;
        this.#ctx.logger.warn({ job: job.jobId, error: known.message }, "import does not get on");
        // For example more segments than the document has room for: trying again would not help.
        if (known.kind === "internal") await this.#fail(job.jobId, known.message);
      }
    }
    this.#rests.forget();
    for (const key of this.#failures.keys()) {
      if (!this.#isLive(Number(key.split("/")[0]))) this.#failures.delete(key);
    }
  }

  async #stepJob(job: ImportDoc): Promise<void> {
    const { catalog, clock } = this.#ctx;
    const collection = catalog.collection(job.collectionId);
    const { timeoutMs } = job.options;
    if (collection === undefined) await this.#fail(job.jobId, "the collection has been dropped");
    else if (job.isEntered) {
      if (!this.#isComing(job, collection)) await this.#fail(job.jobId, "the collection has been truncated");
    } else if (timeoutMs !== undefined && clock.now() - msOfTimestamp(job.createdAt) > timeoutMs) {
      await this.#fail(job.jobId, `import timeout, it was to be done within ${timeoutMs} ms`);
    } else if (job.files.every(({ rowCount }) => rowCount !== undefined)) await this.#enter(job.jobId);
    else await this.#giveOut(job, collection);
  }

  #live(): ImportDoc[] {
    return this.#ctx.catalog.importJobs().filter(({ state }) => state === "Pending" || state === "Importing");
  }

  /** Objects that unfinished jobs name. */
  #named(): ReadonlySet<string> {
    const { revision } = this.#ctx.catalog.cache;
    if (this.#names.revision === revision) return this.#names.names;
    const names = new Set<string>();
    for (const { object, segments } of this.#live().flatMap(({ files }) => files)) {
      if (object !== undefined) names.add(object.name);
      for (const segment of segments) names.add(segment.object.name);
    }
    this.#names = { revision, names };
    return names;
  }

  #isLive(jobId: number): boolean {
    return this.#live().some((job) => job.jobId === jobId);
  }

  #isComing({ jobId }: ImportDoc, collection: CollectionDoc): boolean {
    return collection.shards.some(
      ({ vchannel }) => this.#ctx.catalog.manifest(vchannel)?.imports?.some((entry) => entry.jobId === jobId) === true,
    );
  }

  #put(doc: ImportDoc): MetaOp {
    return putDoc(this.#ctx.catalog.cache, metaKeys.importJob(doc.jobId), doc);
  }

  #forgotten(): MetaOp[] {
    const { catalog, clock } = this.#ctx;
    return catalog
      .importJobs()
      .filter(({ endedAtMs }) => endedAtMs !== undefined && clock.now() - endedAtMs > FORGET_AFTER_MS)
      .slice(0, FORGOTTEN_MAX)
      .map(({ jobId }) => metaKeys.importJob(jobId))
      .map((key): MetaOp => ({ op: "delete", key, revision: catalog.cache.revisionOf(key) }));
  }

  async #filesOf(names: readonly string[]): Promise<ImportFileDoc[]> {
    const objects = names.map(uploadedObject);
    const uploads = objects.some((name) => name !== null) ? await this.#ctx.blobs.list() : [];
    return names.map((name, i): ImportFileDoc => {
      if (objects[i] === null) return { name, bytes: 0, segments: [] };
      const found = uploads.find((upload) => upload.name === objects[i]);
      if (found === undefined) throw importFailed(`there is no upload ${name}`);
      const { storedAt: _, ...object } = found;
      return { name, object, bytes: object.bytes, segments: [] };
    });
  }

  async #giveOut(job: ImportDoc, collection: CollectionDoc): Promise<void> {
    const limit = this.#ctx.config.data.concurrentJobs + JOBS_AHEAD;
    let isRunning = false;
    for (const [file, { rowCount }] of job.files.entries()) {
      const key = `${job.jobId}/${file}`;
      isRunning ||= this.#running.has(key);
      if (rowCount !== undefined || this.#running.has(key)) continue;
      if (this.#rests.has(key)) continue;
      const [nodeId] = idleDataNodes(this.#ctx.nodes, [...this.#running.values()], limit);
      if (nodeId === undefined) break;
      const running: Running = { jobId: job.jobId, file, nodeId, attempt: this.#ctx.random.ulid() };
      this.#running.set(key, running);
      isRunning = true;
      void this.#run(job, collection, running).finally(() => {
        this.#running.delete(key);
        this.#events.onDone();
      });
    }
    // Done beside the work, which does not wait for what is only shown to users.
    if (job.state === "Pending" && isRunning) await this.#change(job.jobId, (doc) => ({ ...doc, state: "Importing" }));
  }

  async #run(job: ImportDoc, collection: CollectionDoc, { file, nodeId, attempt }: Running): Promise<void> {
    const { config, logger } = this.#ctx;
    const { name, object } = job.files[file]!;
    const fields = { job: job.jobId, collection: collection.name, file: name, dataNode: nodeId };
    const key = `${job.jobId}/${file}`;
    try {
      const done = await askForJob(this.#ctx, { role: "data", nodeId }, this.#leadership.signal, importFile, {
        epoch: this.#leadership.epoch,
        attempt,
        jobId: job.jobId,
        collectionId: job.collectionId,
        vchannel: collection.shards[0]!.vchannel,
        name,
        ...(object === undefined ? {} : { object }),
        ...(job.partitionId === undefined ? {} : { partitionId: job.partitionId }),
        options: job.options,
        targetBytes: config.streaming.sealBytes,
        ts: job.createdAt,
      });
      await this.#note(job.jobId, file, done);
      this.#events.onProgress();
      logger.info({ ...fields, rows: done.rowCount, seconds: done.seconds }, "file imported");
    } catch (error) {
      if (this.#leadership.signal.aborted) return;
      const { kind, message } = asVdbError(error);
      if (!this.#isLive(job.jobId)) return;
      const mayBeCause = this.#rests.failed([key], error);
      const count = (this.#failures.get(key) ?? 0) + (mayBeCause ? 1 : 0);
      if (mayBeCause) this.#failures.set(key, count);
      logger.warn({ ...fields, error: message }, "file not imported");
      if (kind === "import_failed" || count >= TRIES_MAX) {
        await this.#fail(job.jobId, message, file).catch((failure: unknown) =>
          logger.debug({ ...fields, error: asVdbError(failure).message }, "failure not noted, will be found again"),
        );
      }
    }
  }

  /** @throws VdbError import_failed (more segments than a job has room for: said now, not when all files have been read) */
  #note(jobId: number, file: number, { segments, rowCount, bytes }: ImportedFile): Promise<void> {
    return this.#change(jobId, (doc) => {
      const files = doc.files.map((each, i) =>
        i === file ? { ...each, segments, rowCount, bytes, completedAtMs: this.#ctx.clock.now() } : each,
      );
      requireRoom(files);
      return { ...doc, files };
    });
  }

  #fail(jobId: number, reason: string, file?: number): Promise<void> {
    this.#ctx.logger.warn({ job: jobId, reason }, "import failed");
    return this.#change(jobId, (doc) => ({
      ...doc,
      state: "Failed",
      reason,
      endedAtMs: this.#ctx.clock.now(),
      files: doc.files.map((each, i) => ({ ...each, segments: [], ...(i === file ? { reason } : {}) })),
    }));
  }

  /**
   * Changes a job that has not ended. @param change called again with the job's newest state when another change came
   * first
   */
  async #change(jobId: number, change: (doc: ImportDoc) => ImportDoc): Promise<void> {
    for (;;) {
      const doc = this.#live().find((job) => job.jobId === jobId);
      if (doc === undefined || (await this.#leadership.commit([this.#put(change(doc))]))) return;
    }
  }

  /** I2: manifests first, then the timestamp, then the commit that holds only if the manifests are still the same. */
  async #enter(jobId: number): Promise<void> {
    const { catalog } = this.#ctx;
    const { cache } = catalog;
    for (;;) {
      const job = this.#live().find((each) => each.jobId === jobId);
      const collection = job === undefined ? undefined : catalog.collection(job.collectionId);
      if (job === undefined || job.isEntered || collection === undefined) return;
      const partitions = new Set(collection.partitions.map(({ partitionId }) => partitionId));
      const written = job.files.flatMap(({ segments }) => segments);
      const problem =
        job.partitionId !== undefined && !partitions.has(job.partitionId)
          ? "the partition has been dropped"
          : written.some(({ vchannel }) => !collection.shards.some((shard) => shard.vchannel === vchannel))
            ? "the collection has been truncated"
            : undefined;
      if (problem !== undefined) return this.#fail(jobId, problem);
      const byShard = groupBy(
        written.filter(({ partitionId }) => partitions.has(partitionId)),
        ({ vchannel }) => vchannel,
      );
      const shards = [...byShard].map(([vchannel, segments]) => {
        const key = metaKeys.manifest(vchannel);
        return { key, manifest: catalog.manifest(vchannel)!, revision: cache.revisionOf(key), segments };
      });
      const jobOp = this.#put(
        shards.length === 0
          ? { ...job, state: "Completed", isEntered: true, endedAtMs: this.#ctx.clock.now() }
          : {
              ...job,
              state: "Importing",
              isEntered: true,
              files: job.files.map((file) => ({ ...file, segments: [] })),
            },
      );
      const guard = guardDoc(cache, metaKeys.collection(collection.collectionId));
      const ts = await this.#windows.timestamps.allocate(1);
      const ops = shards.map(({ key, manifest, revision, segments }): MetaOp => {
        const docs = segments.map(
          ({ vchannel: _, ...segment }): SegmentDoc => ({
            ...segment,
            ...{ minTs: ts, maxTs: ts, rowTs: ts },
            indexes: {},
            deletesSeq: manifest.deltaSeq,
          }),
        );
        return { op: "put", key, value: encodeDoc(key, withImport(manifest, { jobId, segments: docs })), revision };
      });
      if (await this.#leadership.commit([jobOp, ...ops, guard])) return;
    }
  }

  /** What data nodes say of the files that they read, by job and file; of those that do not answer, nothing. */
  async #runningProgress(jobIds: ReadonlySet<number>): Promise<Map<string, ImportProgress>> {
    const found = new Map<string, ImportProgress>();
    const wanted = [...this.#running].filter(([, { jobId }]) => jobIds.has(jobId));
    await Promise.all(
      [...groupBy(wanted, ([, { nodeId }]) => nodeId)].map(async ([nodeId, of]) => {
        const attempts = of.map(([, { attempt }]) => attempt);
        const reply = await this.#ctx.bus
          .ask(importProgress, { nodeId }, { attempts }, { signal: this.#leadership.signal })
          .catch(() => undefined);
        for (const [key, { attempt }] of of) {
          found.set(key, reply?.attempts[attempt] ?? { rows: 0, fraction: 0, bytes: 0 });
        }
      }),
    );
    return found;
  }
}

/** @throws VdbError import_failed */
function requireRoom(files: readonly ImportFileDoc[]): void {
  const written = files.reduce((sum, { segments }) => sum + segments.length, 0);
  if (written <= SEGMENTS_MAX) return;
  throw importFailed(`the files make more than ${SEGMENTS_MAX} segments, import some of them by another job`);
}
