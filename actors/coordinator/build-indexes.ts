/**
 * Index jobs: every segment with enough rows, flushed or staged by compaction, gets an index file for each index of its
 * collection. There is no queue to lose: what is missing is read off the manifests, a data node is asked for each job,
 * and its result enters the manifest by compare-and-set.
 */
import type { ActorContext } from "../../runtime/actor.ts";
import { askForJob } from "../../runtime/ask-node.ts";
import { asVdbError, isVdbError } from "../../runtime/errors.ts";
import { hasIndexFile } from "../../runtime/index-files.ts";
import { putDoc } from "../../runtime/meta/catalog.ts";
import { allSegments, findSegment, mapSegments } from "../../runtime/meta/manifest.ts";
import {
  type CollectionDoc,
  type IndexDefinition,
  type ManifestDoc,
  metaKeys,
  type SegmentDoc,
  type SegmentIndexDoc,
} from "../../runtime/protocol/catalog.ts";
import { type BuildIndex, buildIndex } from "../../runtime/protocol/data.ts";
import { type FieldSchema, isVectorType, type VectorType } from "../../runtime/schema.ts";
import { takeTurn } from "../../runtime/turns.ts";
import type { Compactor } from "./compact.ts";
import { idleDataNodes } from "./idle-nodes.ts";
import type { Leadership } from "./leadership.ts";
import { Rests } from "./rests.ts";

/** Jobs given to a data node ahead of those that it runs, so that it never waits for the coordinator. */
const JOBS_AHEAD = 1;

/** A job that failed rests this long: a segment that cannot be indexed must not keep a node busy. */
const RETRY_AFTER_MS = 10_000;

/** Staged segments whose index fails this often by what does not pass by itself are given up: their inputs have theirs. */
const STAGED_TRIES_MAX = 5;
const FAILURES_MAX = 1_000;

interface Job {
  key: string;
  collection: CollectionDoc;
  manifest: ManifestDoc;
  segment: SegmentDoc;
  index: IndexDefinition;
}

export class IndexBuilder {
  readonly #ctx: ActorContext;
  readonly #leadership: Leadership;
  readonly #compactor: Pick<Compactor, "giveUp">;
  readonly #onDone: () => void;
  /** Job to the data node that has it. */
  readonly #running = new Map<string, { nodeId: string; objectFolder: string }>();
  readonly #rests: Rests;
  /** By job: how often it failed in a row by what does not pass by itself. */
  readonly #failures = new Map<string, number>();
  /** Manifests that lack nothing, with the collection as it was then. */
  readonly #complete = new WeakMap<ManifestDoc, CollectionDoc>();
  /** The collection that got the newest job: the others come first next time, so that one with endless work keeps nobody waiting. */
  #servedLast: number | undefined;

  constructor(ctx: ActorContext, leadership: Leadership, compactor: Pick<Compactor, "giveUp">, onDone: () => void) {
    this.#ctx = ctx;
    this.#leadership = leadership;
    this.#compactor = compactor;
    this.#onDone = onDone;
    this.#rests = new Rests(ctx.clock, RETRY_AFTER_MS);
  }

  get running(): number {
    return this.#running.size;
  }

  /** Whether an object may be the unfinished result of a job of this epoch. */
  mayWrite(objectName: string): boolean {
    return [...this.#running.values()].some(({ objectFolder }) => objectName.startsWith(objectFolder));
  }

  /** Gives out what is missing, as far as there are nodes for it. */
  async step(): Promise<void> {
    const limit = this.#ctx.config.data.concurrentJobs + JOBS_AHEAD;
    this.#rests.forget();
    // Of those that have gone meanwhile nobody tells.
    if (this.#failures.size > FAILURES_MAX) this.#failures.clear();
    for await (const job of this.#missing()) {
      if (this.#running.has(job.key) || this.#rests.has(job.key)) continue;
      const [nodeId] = idleDataNodes(this.#ctx.nodes, [...this.#running.values()], limit);
      if (nodeId === undefined) return;
      const { vchannel } = job.manifest;
      this.#servedLast = job.collection.collectionId;
      this.#running.set(job.key, {
        nodeId,
        objectFolder: `index/${vchannel}/${this.#leadership.epoch}/${job.segment.segmentId}`,
      });
      void this.#run(job, nodeId).finally(() => {
        this.#running.delete(job.key);
        this.#onDone();
      });
    }
  }

  async *#missing(): AsyncGenerator<Job, void, undefined> {
    const { catalog, clock } = this.#ctx;
    const all = catalog.collections();
    const first = all.findIndex(({ collectionId }) => collectionId === this.#servedLast) + 1;
    for (const collection of [...all.slice(first), ...all.slice(0, first)]) {
      for (const { vchannel } of collection.shards) {
        await takeTurn(clock);
        const manifest = catalog.manifest(vchannel);
        if (manifest === undefined || this.#complete.get(manifest) === collection) continue;
        const jobs = this.#missingIn(collection, manifest);
        if (jobs.length === 0) this.#complete.set(manifest, collection);
        yield* jobs;
      }
    }
  }

  #missingIn(collection: CollectionDoc, manifest: ManifestDoc): Job[] {
    const { indexRowsMin } = this.#ctx.config.coordinator;
    const replaced = new Set(manifest.staged.flatMap(({ replaces }) => replaces));
    // What takes the place of one that is to be replaced gets an index instead.
    const segments = allSegments(manifest).filter(
      ({ segmentId, rowCount }) => rowCount >= indexRowsMin && !replaced.has(segmentId),
    );
    const built = collection.indexes.filter((index) => hasIndexFile(collection, index));
    return built.flatMap((index) =>
      segments
        .filter(({ indexes }) => indexes[String(index.fieldId)]?.indexId !== index.indexId)
        .map((segment) => ({ key: `${segment.segmentId}.${index.indexId}`, collection, manifest, segment, index })),
    );
  }

  async #run(job: Job, nodeId: string): Promise<void> {
    const { collection, manifest, segment, index } = job;
    const fields = {
      collection: collection.name,
      segmentId: segment.segmentId,
      indexType: index.type,
      dataNode: nodeId,
    };
    const field = collection.schema.fields.find(({ fieldId }) => fieldId === index.fieldId);
    try {
      const request: BuildIndex = {
        epoch: this.#leadership.epoch,
        vchannel: manifest.vchannel,
        segmentId: segment.segmentId,
        rowCount: segment.rowCount,
        object: segment.object,
        fieldId: index.fieldId,
        dimension: field?.dimension ?? 0,
        ...vectorTypeOf(field),
        ...(field?.nullable === true && { isNullable: true }),
        indexId: index.indexId,
        type: index.type,
        metric: index.metric,
        params: index.params,
      };
      const { index: built, seconds } = await askForJob(
        this.#ctx,
        { role: "data", nodeId },
        this.#leadership.signal,
        buildIndex,
        request,
      );
      await this.#enter(manifest.vchannel, segment.segmentId, index.fieldId, built);
      this.#rests.done([job.key]);
      this.#failures.delete(job.key);
      this.#ctx.logger.info({ ...fields, rows: segment.rowCount, seconds }, "index built");
    } catch (error) {
      if (this.#leadership.signal.aborted) return;
      this.#ctx.logger.warn({ ...fields, error: asVdbError(error).message }, "index not built, will be tried again");
      const mayBeCause = this.#rests.failed([job.key], error);
      if (mayBeCause && !passesByItself(error)) await this.#countFailure(job, error);
    }
  }

  async #countFailure({ key, manifest: { vchannel }, segment }: Job, error: unknown): Promise<void> {
    const failures = (this.#failures.get(key) ?? 0) + 1;
    this.#failures.set(key, failures);
    const staged = this.#ctx.catalog.manifest(vchannel)?.staged ?? [];
    const entry = staged.find(({ segments }) => segments.some(({ segmentId }) => segmentId === segment.segmentId));
    if (entry === undefined || failures < STAGED_TRIES_MAX) return;
    const reason = `no index of segment ${segment.segmentId} can be built: ${asVdbError(error).message}`;
    try {
      await this.#compactor.giveUp(vchannel, { entry, reason });
    } catch (failure) {
      this.#ctx.logger.debug({ vchannel, error: asVdbError(failure).message }, "not given up yet");
    }
  }

  /** Enters the index into the manifest, unless the segment or the index is gone by now. */
  async #enter(vchannel: string, segmentId: string, fieldId: number, built: SegmentIndexDoc): Promise<void> {
    for (;;) {
      const manifest = this.#ctx.catalog.manifest(vchannel);
      const collection = manifest === undefined ? undefined : this.#ctx.catalog.collection(manifest.collectionId);
      const isWanted = collection?.indexes.some(({ indexId }) => indexId === built.indexId) === true;
      if (manifest === undefined || !isWanted) return;
      if (findSegment(manifest, segmentId) === undefined) return;
      const changed = mapSegments(manifest, (segment) =>
        segment.segmentId === segmentId
          ? { ...segment, indexes: { ...segment.indexes, [String(fieldId)]: built } }
          : segment,
      );
      const op = putDoc(this.#ctx.catalog.cache, metaKeys.manifest(vchannel), changed);
      if (await this.#leadership.commit([op])) return;
    }
  }
}

/** A store that is away comes back; a node that was lost may have been killed by the job. */
function passesByItself(error: unknown): boolean {
  return asVdbError(error).retriable && !isVdbError(error, "node_not_found");
}

/** Said of others than FloatVector, which is what a data node of an older version builds from. */
function vectorTypeOf(field: FieldSchema | undefined): { vectorType?: VectorType } {
  if (field === undefined || !isVectorType(field.type) || field.type === "FloatVector") return {};
  return { vectorType: field.type };
}
