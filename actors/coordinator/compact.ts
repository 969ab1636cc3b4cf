/**
 * Compaction: the plans of every shard (plan-compaction.ts), given to data nodes, their results entered into the manifest
 * by compare-and-set. There is no queue to lose: what is to be done is read off the manifests, and a result that no
 * longer fits its manifest is dropped, its objects collected.
 *
 * A merge's result is staged: index builds fill it, and the placer swaps it in when it can be served. Own deletes that
 * were written anew count at once: whoever has the segment in memory has applied them already.
 *
 * A manual compaction is a document: what there was when it was asked for. It is completed when nothing of that is left
 * to do, and then says so for good; whichever coordinator leads finds out. What is given up is noted in it: those segments are
 * no part of it any more.
 */
import type { ActorContext } from "../../runtime/actor.ts";
import { askForJob } from "../../runtime/ask-node.ts";
import { asVdbError, isVdbError, VdbError } from "../../runtime/errors.ts";
import { existingCollection, putDoc } from "../../runtime/meta/catalog.ts";
import { deltasAfter, withDeletes, withoutStaged, withStaged } from "../../runtime/meta/manifest.ts";
import type { MetaOp } from "../../runtime/meta/port.ts";
import { loadedPartitions } from "../../runtime/partitions.ts";
import { type CollectionDoc, type CompactionDoc, type ManifestDoc, metaKeys } from "../../runtime/protocol/catalog.ts";
import { compactSegments, distributeDeletes } from "../../runtime/protocol/data.ts";
import type { Operation } from "../../runtime/protocol/operation.ts";
import { msOfTimestamp, timestampOfMs } from "../../runtime/timestamps.ts";
import { expiredTs } from "../../runtime/ttl.ts";
import { takeTurn } from "../../runtime/turns.ts";
import { idleDataNodes } from "./idle-nodes.ts";
import type { Leadership } from "./leadership.ts";
import type { Hopeless } from "./place-staged.ts";
import { type AskedShard, type CompactionPlan, planShard, remainingPlans } from "./plan-compaction.ts";
import { Rests } from "./rests.ts";
import type { Window } from "./window.ts";

/** Merges given to a data node ahead of those that it runs. */
const JOBS_AHEAD = 1;

/** A job that failed rests this long: what cannot be compacted must not keep a node busy. */
const RETRY_AFTER_MS = 10_000;

/** The inputs of a merge whose result could not be served rest this long: most often memory is lacking, which somebody has to add. */
const GIVEN_UP_REST_MS = 3_600_000;

/** A segment may turn out larger than its inputs said; a small rest would be merged again at once. */
const OVERSIZE = 1.25;

/** Manual compactions are remembered this long after they were asked for. */
const FORGET_AFTER_MS = 86_400_000;
/** With each one that is asked for: a commit has room for so much. */
const FORGOTTEN_MAX = 100;
/** Of those that a step is given up of: the others find out when they try it. */
const NOTED_MAX = 100;

const AUTOMATIC_PROPERTY = "collection.autocompaction.enabled";

interface Running {
  kind: CompactionPlan["kind"];
  nodeId: string;
  segmentIds: string[];
  /** What the names of its objects begin with. */
  objects: string;
}

type Seen = readonly unknown[];

/** Something to do, by a shard's manifest. */
interface Found {
  collection: CollectionDoc;
  manifest: ManifestDoc;
  plan: CompactionPlan;
  nowTs: bigint;
}

export class Compactor {
  readonly #ctx: ActorContext;
  readonly #leadership: Leadership;
  readonly #windows: { timestamps: Window; ids: Window };
  readonly #onDone: () => void;
  readonly #running = new Set<Running>();
  /** By segment. */
  readonly #rests: Rests;
  /** By segment: what no merge is tried with before, since the result of one could not be served. */
  readonly #leftAloneUntil = new Map<string, number>();
  /** Shards with nothing to do, and from what: while that stands there is nothing to look at. */
  readonly #settled = new Map<string, Seen>();
  /** By kind and shard: which start its newest job was, of all. */
  readonly #startedAs = new Map<string, number>();
  #starts = 0;

  constructor(
    ctx: ActorContext,
    leadership: Leadership,
    windows: { timestamps: Window; ids: Window },
    onDone: () => void,
  ) {
    this.#ctx = ctx;
    this.#leadership = leadership;
    this.#windows = windows;
    this.#onDone = onDone;
    this.#rests = new Rests(ctx.clock, RETRY_AFTER_MS);
  }

  get running(): number {
    return this.#running.size;
  }

  /** Whether an object may be the result of a job that runs, not entered yet. */
  mayWrite(objectName: string): boolean {
    return [...this.#running].some(({ objects }) => objectName.startsWith(objects));
  }

  /** Gives out what is to be done, as far as there are nodes for it. */
  async step(): Promise<void> {
    const { catalog, clock } = this.#ctx;
    const now = clock.monotonic();
    this.#rests.forget();
    for (const [segmentId, until] of this.#leftAloneUntil) if (until <= now) this.#leftAloneUntil.delete(segmentId);
    const asked = catalog.compactions().filter(({ isCompleted }) => !isCompleted);
    const found: Found[] = [];
    const vchannels = new Set<string>();
    for (const collection of catalog.collections()) {
      const ofCollection = asked.filter(({ collectionId }) => collectionId === collection.collectionId);
      for (const { vchannel } of collection.shards) {
        await takeTurn(clock);
        vchannels.add(vchannel);
        found.push(...this.#findIn(collection, vchannel, ofCollection));
      }
    }
    for (const vchannel of this.#settled.keys()) if (!vchannels.has(vchannel)) this.#settled.delete(vchannel);
    for (const key of this.#startedAs.keys()) if (!vchannels.has(key.split(" ")[1]!)) this.#startedAs.delete(key);
    // The shard served longest ago comes first, so one with endless work keeps no other waiting.
    found.sort((a, b) => this.#lastStart(a) - this.#lastStart(b));
    for (const each of found) this.#start(each);
    for (const doc of asked) await this.#completeIfDone(doc);
  }

  /** @throws VdbError collection_not_found; invalid_parameter when there is no key by which it could be laid out */
  async ask(collectionId: number, isClustering = false): Promise<{ compactionId: number; revision: number }> {
    const { catalog } = this.#ctx;
    const { name, schema } = existingCollection(catalog, collectionId);
    if (isClustering && clusteringKey(schema.fields) === undefined) {
      throw new VdbError(
        "invalid_parameter",
        `collection ${name} has no clustering key: there is nothing to cluster by`,
      );
    }
    const compactionId = Number(await this.#windows.ids.allocate(1));
    const askedAt = await this.#windows.timestamps.allocate(1);
    for (;;) {
      const collection = existingCollection(catalog, collectionId);
      const shards: CompactionDoc["shards"] = {};
      for (const { vchannel } of isClustering ? [] : collection.shards) {
        const { segments, deltaSeq } = catalog.manifest(vchannel)!;
        shards[vchannel] = { segmentIds: segments.map(({ segmentId }) => segmentId), deltaSeq };
      }
      const kind = isClustering ? { isClustering } : {};
      const doc: CompactionDoc = { compactionId, collectionId, askedAt, shards, ...kind, plans: 0, isCompleted: false };
      doc.plans = this.#remaining(doc);
      if (!(await this.#leadership.commit([this.#put(doc), ...this.#forgotten()]))) continue;
      // Whoever asks may have added memory. Only now: what is given up from here on is noted in the document.
      for (const segmentId of this.#segmentsOf(collectionId)) this.#leftAloneUntil.delete(segmentId);
      return { compactionId, revision: catalog.cache.revision };
    }
  }

  /** @throws VdbError invalid_parameter of a compaction that nobody asked for, or long ago */
  stateOf(compactionId: number): {
    isCompleted: boolean;
    remaining: number;
    completed: number;
    givenUp?: number;
    reason?: string;
  } {
    const doc = this.#ctx.catalog.compaction(compactionId);
    if (doc === undefined) throw new VdbError("invalid_parameter", `compaction ${compactionId} is not known`);
    const { isCompleted, plans, givenUp = [] } = doc;
    const remaining = isCompleted ? 0 : this.#remaining(doc);
    const state = { isCompleted, remaining, completed: Math.max(0, plans - remaining - givenUp.length) };
    const last = givenUp.at(-1);
    return last === undefined ? state : { ...state, givenUp: givenUp.length, reason: last.reason };
  }

  /**
   * Gives up staged segments that cannot be served, also in a manual compaction; the segments that they were to replace
   * rest for long. False when there is nothing to give up any more.
   */
  async giveUp(vchannel: string, { entry, reason }: Hopeless): Promise<boolean> {
    const { catalog, clock, logger } = this.#ctx;
    const { replaces: segmentIds } = entry;
    const asked = (): MetaOp[] =>
      catalog
        .compactions()
        .filter((doc) => !doc.isCompleted && this.#concerns(doc, vchannel, segmentIds))
        .slice(0, NOTED_MAX)
        .map((doc) => this.#put({ ...doc, givenUp: [...(doc.givenUp ?? []), { vchannel, segmentIds, reason }] }));
    if (!(await this.#enter(vchannel, (current) => withoutStaged(current, entry), asked))) return false;
    // What was asked for meanwhile does not have the note, and waits for them: it has them tried again.
    const isWaitedFor = catalog
      .compactions()
      .filter((doc) => !doc.isCompleted && this.#concerns(doc, vchannel, segmentIds))
      .some((doc) => !givenUpIn(doc, vchannel).has(segmentIds[0]!));
    const until = clock.monotonic() + GIVEN_UP_REST_MS;
    if (!isWaitedFor) for (const segmentId of segmentIds) this.#leftAloneUntil.set(segmentId, until);
    const fields = { vchannel, segments: segmentIds.length, into: entry.segments.length, reason };
    logger.warn(fields, "compaction given up: its result cannot be served");
    return true;
  }

  #concerns(doc: CompactionDoc, vchannel: string, segmentIds: readonly string[]): boolean {
    const collection = this.#ctx.catalog.collection(doc.collectionId);
    if (collection?.shards.some((shard) => shard.vchannel === vchannel) !== true) return false;
    return doc.isClustering === true || segmentIds.some((id) => doc.shards[vchannel]?.segmentIds.includes(id) === true);
  }

  #segmentsOf(collectionId: number): string[] {
    const { catalog } = this.#ctx;
    const shards = catalog.collection(collectionId)?.shards ?? [];
    return shards.flatMap(({ vchannel }) => catalog.manifest(vchannel)?.segments.map((doc) => doc.segmentId) ?? []);
  }

  #put(doc: CompactionDoc): MetaOp {
    return putDoc(this.#ctx.catalog.cache, metaKeys.compaction(doc.compactionId), doc);
  }

  #forgotten(): MetaOp[] {
    const { catalog, clock } = this.#ctx;
    return catalog
      .compactions()
      .filter(({ askedAt }) => clock.now() - msOfTimestamp(askedAt) > FORGET_AFTER_MS)
      .slice(0, FORGOTTEN_MAX)
      .map(({ compactionId }) => metaKeys.compaction(compactionId))
      .map((key): MetaOp => ({ op: "delete", key, revision: catalog.cache.revisionOf(key) }));
  }

  #remaining(doc: CompactionDoc): number {
    const { catalog, config } = this.#ctx;
    const collection = catalog.collection(doc.collectionId);
    if (collection === undefined) return 0;
    return collection.shards.reduce((sum, { vchannel }) => {
      const manifest = catalog.manifest(vchannel);
      const asked = askedShard(collection, doc, vchannel);
      return sum + (manifest === undefined ? 0 : remainingPlans(asked, manifest, config.coordinator));
    }, 0);
  }

  async #completeIfDone(doc: CompactionDoc): Promise<void> {
    if (this.#remaining(doc) > 0) return;
    if (await this.#leadership.commit([this.#put({ ...doc, isCompleted: true })]))
      this.#ctx.logger.info({ compactionId: doc.compactionId }, "compaction completed");
  }

  #findIn(collection: CollectionDoc, vchannel: string, asked: readonly CompactionDoc[]): Found[] {
    const { catalog, config, clock } = this.#ctx;
    const manifest = catalog.manifest(vchannel);
    if (manifest === undefined) return [];
    const view = catalog.view(vchannel);
    const nowTs = timestampOfMs(clock.now());
    const beforeTs = expiredTs(collection, nowTs);
    const seen: Seen = [collection, manifest, view];
    // Rows grow older without anything else changing.
    const maySettle = beforeTs === undefined && asked.length === 0;
    if (maySettle && this.#settled.get(vchannel)?.every((part, i) => part === seen[i])) return [];
    const busy = new Set([...this.#running].flatMap(({ segmentIds }) => segmentIds));
    const distributionsMax = this.#freeNodes("distribute").length;
    const served = loadedPartitions(collection);
    const isServed = new Set(
      manifest.segments.filter(({ partitionId }) => served.has(partitionId)).map(({ segmentId }) => segmentId),
    );
    const plans = planShard(
      {
        manifest,
        isPlaced: (segmentId) => !isServed.has(segmentId) || view?.segments[segmentId] !== undefined,
        isLeftAlone: (segmentId) => this.#leftAloneUntil.has(segmentId),
        isBusy: (segmentId) => this.#rests.has(segmentId) || busy.has(segmentId),
        distributionsMax,
        expiredTs: beforeTs,
        asked: asked.map((doc) => askedShard(collection, doc, vchannel)),
        isAutomatic: collection.properties[AUTOMATIC_PROPERTY] !== "false",
      },
      config.coordinator,
    );
    const isBusy = [...this.#running].some(({ objects }) => objects.startsWith(`compacted/${vchannel}/`));
    // A distribution without a node to do it is not planned, only noted as due.
    const isWaiting = distributionsMax === 0 && manifest.deltas.length > 0;
    const isLeftAlone =
      this.#leftAloneUntil.size > 0 && manifest.segments.some(({ segmentId }) => this.#leftAloneUntil.has(segmentId));
    const isSettled = plans.length === 0 && !isBusy && !isWaiting && this.#rests.isEmpty && !isLeftAlone;
    if (isSettled) this.#settled.set(vchannel, seen);
    else this.#settled.delete(vchannel);
    return plans.map((plan) => ({ collection, manifest, plan, nowTs }));
  }

  #lastStart({ manifest, plan }: Found): number {
    return this.#startedAs.get(`${plan.kind} ${manifest.vchannel}`) ?? 0;
  }

  #start({ collection, manifest, plan, nowTs }: Found): void {
    const [nodeId] = this.#freeNodes(plan.kind);
    if (nodeId === undefined) return;
    const attempt = this.#ctx.random.ulid();
    const running: Running = {
      kind: plan.kind,
      nodeId,
      segmentIds: plan.segments.map(({ segmentId }) => segmentId),
      objects: `compacted/${manifest.vchannel}/${this.#leadership.epoch}/${attempt}-`,
    };
    this.#running.add(running);
    this.#startedAs.set(`${plan.kind} ${manifest.vchannel}`, ++this.#starts);
    void this.#run(collection, manifest, { plan, nodeId, attempt, nowTs }).finally(() => {
      this.#running.delete(running);
      this.#onDone();
    });
  }

  /** Nodes that can take one more job, the idlest first. Each kind of job has places of its own, so that none holds up another. */
  #freeNodes(kind: CompactionPlan["kind"]): string[] {
    const limit = kind === "distribute" ? 1 : this.#ctx.config.data.concurrentJobs + JOBS_AHEAD;
    const jobs = [...this.#running].filter((running) => running.kind === kind);
    return idleDataNodes(this.#ctx.nodes, jobs, limit);
  }

  async #run(
    collection: CollectionDoc,
    manifest: ManifestDoc,
    job: { plan: CompactionPlan; nodeId: string; attempt: string; nowTs: bigint },
  ): Promise<void> {
    const { logger } = this.#ctx;
    const { plan, nodeId } = job;
    const { kind, segments } = plan;
    const segmentIds = segments.map(({ segmentId }) => segmentId);
    const { vchannel } = manifest;
    const fields = { collection: collection.name, vchannel, kind, segments: segments.length, dataNode: nodeId };
    try {
      const facts = await (kind === "merge" ? this.#merge(collection, manifest, job) : this.#distribute(manifest, job));
      this.#rests.done(segmentIds);
      logger.info({ ...fields, ...facts }, "compacted");
    } catch (error) {
      if (this.#leadership.signal.aborted) return;
      this.#rests.failed(segmentIds, error);
      // Not logged when the node is gone or the collection dropped: that is known.
      const level = isVdbError(error, "node_not_found", "collection_not_found") ? "debug" : "warn";
      logger[level]({ ...fields, error: asVdbError(error).message }, "not compacted, will be tried again");
    }
  }

  async #merge(
    collection: CollectionDoc,
    manifest: ManifestDoc,
    { plan, nodeId, attempt, nowTs }: { plan: CompactionPlan; nodeId: string; attempt: string; nowTs: bigint },
  ): Promise<Record<string, unknown>> {
    const { config } = this.#ctx;
    const beforeTs = expiredTs(collection, nowTs);
    const request = {
      ...this.#request(manifest, plan, attempt),
      targetBytes: Math.ceil(config.coordinator.compactionBytes * OVERSIZE),
      ...(beforeTs === undefined ? {} : { expiry: { beforeTs, nowTs } }),
      ...(plan.clusterBy === undefined ? {} : { clusterBy: plan.clusterBy }),
    };
    const { segments, purgedTs, seconds } = await this.#ask(nodeId, compactSegments, request);
    if (segments.some(({ clusteredBy }) => clusteredBy !== plan.clusterBy)) {
      throw new VdbError("unavailable", "the data node is of a version that lays nothing out by a clustering key");
    }
    const replaces = plan.segments.map(({ segmentId }) => segmentId);
    const entry = { replaces, segments, ...(purgedTs === undefined ? {} : { purgedTs }) };
    const isEntered = await this.#enter(manifest.vchannel, (current) => withStaged(current, entry));
    const rows = segments.reduce((sum, { rowCount }) => sum + rowCount, 0);
    return { into: segments.length, rows, seconds, isEntered };
  }

  async #distribute(
    manifest: ManifestDoc,
    { plan, nodeId, attempt }: { plan: CompactionPlan; nodeId: string; attempt: string },
  ): Promise<Record<string, unknown>> {
    const request = this.#request(manifest, plan, attempt);
    const { segments, seconds } = await this.#ask(nodeId, distributeDeletes, request);
    const isEntered = await this.#enter(manifest.vchannel, (current) => withDeletes(current, segments));
    const deletes = request.deltas.reduce((sum, { rowCount }) => sum + rowCount, 0);
    return { deletes, seconds, isEntered };
  }

  #ask<Request, Reply>(
    nodeId: string,
    operation: Operation<`data.${string}`, Request, Reply>,
    request: Request,
  ): Promise<Reply> {
    return askForJob(this.#ctx, { role: "data", nodeId }, this.#leadership.signal, operation, request);
  }

  #request(
    { collectionId, vchannel, deltaSeq, ...manifest }: ManifestDoc,
    { segments }: CompactionPlan,
    attempt: string,
  ) {
    const lowest = Math.min(...segments.map(({ deletesSeq }) => deletesSeq));
    const deltas = deltasAfter({ ...manifest, collectionId, vchannel, deltaSeq }, lowest);
    const schemaVersion = this.#ctx.catalog.collection(collectionId)?.schema.version;
    return {
      epoch: this.#leadership.epoch,
      attempt,
      collectionId,
      vchannel,
      schemaVersion,
      segments,
      deltas,
      deltaSeq,
    };
  }

  /** Commits a change of a manifest, and what goes with it; false when the shard is gone or the change no longer fits it. */
  async #enter(
    vchannel: string,
    change: (manifest: ManifestDoc) => ManifestDoc | null,
    others: () => MetaOp[] = () => [],
  ): Promise<boolean> {
    const { catalog } = this.#ctx;
    for (;;) {
      const manifest = catalog.manifest(vchannel);
      const changed = manifest === undefined ? null : change(manifest);
      if (changed === null) return false;
      const op = putDoc(catalog.cache, metaKeys.manifest(vchannel), changed);
      if (await this.#leadership.commit([op, ...others()])) return true;
    }
  }
}

/** The segments of a shard that are left as they are, since what replaced them could not be served. */
function givenUpIn({ givenUp = [] }: CompactionDoc, vchannel: string): Set<string> {
  return new Set(givenUp.flatMap((each) => (each.vchannel === vchannel ? each.segmentIds : [])));
}

function askedShard(collection: CollectionDoc, doc: CompactionDoc, vchannel: string): AskedShard {
  const { segmentIds: all = [], deltaSeq = 0 } = doc.shards[vchannel] ?? {};
  const leftOut = givenUpIn(doc, vchannel);
  const segmentIds = all.filter((segmentId) => !leftOut.has(segmentId));
  const fieldId = doc.isClustering === true ? clusteringKey(collection.schema.fields) : undefined;
  const clustering = fieldId === undefined ? undefined : { fieldId, upTo: doc.askedAt, leftOut };
  return { segmentIds, deltaSeq, expiredTs: expiredTs(collection, doc.askedAt), clustering };
}

function clusteringKey(fields: CollectionDoc["schema"]["fields"]): number | undefined {
  return fields.find(({ isClusteringKey }) => isClusteringKey === true)?.fieldId;
}
