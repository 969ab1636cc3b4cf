/**
 * Has sealed segments served: for every loaded collection, each segment of the manifests is put on query nodes, and
 * once it can be searched there, the next query view names it. A view is replaced in one compare-and-set; delegators
 * switch to it at once and drop their own copies. plan-placement.ts decides what goes where.
 *
 * Owns     what nodes have been told to load, and have said that they loaded; which copies are moving
 * Invariants
 *   V1. The first view of a shard is published only when all its segments are loaded: its existence says "loaded".
 *   V2. A copy leaves the view only together with, or after, the coming of those that replace it: loaded first, then
 *       named, and what was named before is forgotten by its node when reads under the old view have ended.
 *   V3. Segments that compaction staged enter the manifest and the view, and those that they replace leave both, in one
 *       commit.
 */
import type { ActorContext } from "../../runtime/actor.ts";
import { askForJob } from "../../runtime/ask-node.ts";
import { asVdbError, isVdbError } from "../../runtime/errors.ts";
import { append } from "../../runtime/lists.ts";
import { guardDoc, putDoc } from "../../runtime/meta/catalog.ts";
import { allSegments, withSwapped } from "../../runtime/meta/manifest.ts";
import type { MetaOp } from "../../runtime/meta/port.ts";
import { loadedPartitions } from "../../runtime/partitions.ts";
import {
  type CollectionDoc,
  encodeDoc,
  type ManifestDoc,
  metaKeys,
  type SegmentDoc,
  type ViewDoc,
} from "../../runtime/protocol/catalog.ts";
import { loadSegments, releaseSegments } from "../../runtime/protocol/query.ts";
import { queryNodes, replicasByGroup } from "../../runtime/resource-groups.ts";
import { takeTurn } from "../../runtime/turns.ts";
import type { Compactor } from "./compact.ts";
import { Copies, mappingOf, versionOf } from "./copies.ts";
import { mustEnd } from "./in-turn.ts";
import type { Leadership } from "./leadership.ts";
import { type Hopeless, hasAllIndexes, type Placed, StagedSegments } from "./place-staged.ts";
import {
  type CopyPlan,
  freeBytes,
  hasCopies,
  isUneven,
  type Move,
  type PlanNode,
  PlanNodes,
  type PlanSegment,
  planCopies,
  planMoves,
} from "./plan-placement.ts";
import { assignGroupNodes } from "./resource-groups.ts";

/** Segments of one ask: few, so that each counts as loaded soon after it is, and a late one holds up few. */
const LOAD_TOGETHER = 4;

/** Segments that one node is asked for at once: it always has the next ones, and a change of plans costs little. */
const LOADING_MAX = 32;

/** Asks for the same segments of one node, each as long as its time limit: one that has not loaded them by then hangs. */
const LOAD_ASKS_MAX = 5;

/** Copies that move at once, in the whole cluster: evening out may take its time. */
const MOVES_MAX = 4;

/** Segments that are looked at between two looks at the time: about a millisecond. */
const SEGMENTS_A_TURN = 128;

/** After a view stopped naming a segment on a node, reads that began under the old view may still want it there. */
const RELEASE_AFTER_MS = 15_000;

/** What a shard's state was computed from: while none of it changes, neither does the state. */
type Seen = readonly [CollectionDoc, ManifestDoc | undefined, ViewDoc | undefined, string];

/** A shard that was found as it should be, with the bytes that it puts on each node. */
interface Settled {
  seen: Seen;
  bytes: ReadonlyMap<string, number>;
}

/** A shard as of one instant, with the revisions that a change of it must meet. */
interface Shard {
  collection: CollectionDoc;
  collectionGuard: MetaOp;
  manifest: ManifestDoc;
  manifestRevision: number;
  view: ViewDoc | undefined;
  viewRevision: number;
  wanted: ReadonlyMap<string, number>;
  /** Ids of the partitions whose segments are to be served. */
  served: ReadonlySet<number>;
}

/** What a step does for a shard. */
interface ShardStep {
  ops: MetaOp[];
  /** Copies that are not in the next view, by node. */
  dropped: Map<string, string[]>;
  isSettled: boolean;
  /** What compaction staged in vain. */
  hopeless: Hopeless | undefined;
}

export class SegmentPlacer {
  readonly #ctx: ActorContext;
  readonly #leadership: Leadership;
  readonly #compactor: Pick<Compactor, "giveUp">;
  readonly #onDone: (isOfImport: boolean) => void;
  readonly #copies: Copies;
  readonly #staged: StagedSegments;
  /** By segment. */
  readonly #moves = new Map<string, Move>();
  readonly #settled = new Map<string, Settled>();
  /** By shard: where segments of imports are served that no view names yet. */
  readonly #importCopies = new Map<string, Map<string, string[]>>();
  /** By shard: why it does not get on. */
  readonly #problems = new Map<string, string>();
  /** The nodes among which segments were last found even. */
  #evenAmong = "";

  constructor(
    ctx: ActorContext,
    leadership: Leadership,
    compactor: Pick<Compactor, "giveUp">,
    onDone: (isOfImport: boolean) => void,
  ) {
    this.#ctx = ctx;
    this.#leadership = leadership;
    this.#compactor = compactor;
    this.#onDone = onDone;
    this.#copies = new Copies(ctx.clock);
    this.#staged = new StagedSegments(ctx);
  }

  /** Segments that nodes are loading. */
  get loading(): number {
    return this.#copies.loadingCount;
  }

  /** @param partitionIds absent: all that are to be served */
  progress(collectionId: number, partitionIds?: readonly number[]): { loaded: number; total: number; problem: string } {
    const { catalog } = this.#ctx;
    const progress = { loaded: 0, total: 0, problem: "" };
    const collection = catalog.collection(collectionId);
    const served = partitionIds ?? (collection === undefined ? [] : [...loadedPartitions(collection)]);
    for (const { vchannel } of collection?.shards ?? []) {
      const view = catalog.view(vchannel)?.segments ?? {};
      for (const { segmentId, partitionId } of catalog.manifest(vchannel)?.segments ?? []) {
        if (!served.includes(partitionId)) continue;
        progress.total++;
        if (view[segmentId] !== undefined || this.#copies.isLoaded(segmentId)) progress.loaded++;
      }
      if (progress.problem === "") progress.problem = this.#problems.get(vchannel) ?? "";
    }
    return progress;
  }

  /** One step towards every loaded shard's view; publishes what has become ready. */
  async step(): Promise<void> {
    const { catalog, clock } = this.#ctx;
    // Found anew in each step: where a step fails, nobody goes by what was true before.
    this.#importCopies.clear();
    await assignGroupNodes(this.#ctx, this.#leadership);
    const { nodes, signature } = this.#nodes();
    this.#forget(nodes);
    const unsettled: [CollectionDoc, string][] = [];
    for (const collection of catalog.collections()) {
      for (const { vchannel } of collection.shards) {
        await takeTurn(clock);
        const settled = this.#settled.get(vchannel);
        if (settled !== undefined && isSame(settled.seen, this.#seen(collection, vchannel, signature))) {
          for (const [nodeId, bytes] of settled.bytes) nodes.addBytes(nodeId, bytes);
          continue;
        }
        unsettled.push([collection, vchannel]);
        const shard = this.#shard(vchannel);
        if (shard === undefined) continue;
        for (const [nodeId, bytes] of this.#bytesOf(shard, nodes)) nodes.addBytes(nodeId, bytes);
      }
    }
    if (unsettled.length === 0 && this.#evenAmong === signature) return;
    for (const [collection, vchannel] of unsettled) {
      await takeTurn(clock);
      try {
        await this.#stepOne(collection, vchannel, nodes, signature);
      } catch (error) {
        if (mustEnd(error)) throw error;
        this.#note(collection, vchannel, asVdbError(error).message);
      }
    }
    await this.#evenOut(nodes, signature);
  }

  async #stepOne(collection: CollectionDoc, vchannel: string, nodes: PlanNodes, signature: string): Promise<void> {
    const seen = this.#seen(collection, vchannel, signature);
    const shard = this.#shard(vchannel);
    if (shard === undefined) {
      await this.#swapUnloaded(vchannel);
      this.#settled.set(vchannel, { seen, bytes: new Map() });
      return;
    }
    const { ops, dropped, isSettled, hopeless } = await this.#stepShard(shard, nodes);
    if (isSettled) this.#settled.set(vchannel, { seen, bytes: this.#bytesOf(shard, nodes) });
    else this.#settled.delete(vchannel);
    // One that was released, truncated or dropped meanwhile must not get the view that its old self was to have.
    const guarded = ops.length === 0 ? ops : [...ops, shard.collectionGuard];
    if (ops.length === 0 || (await this.#leadership.commit(guarded))) this.#releaseLater(vchannel, dropped);
    if (hopeless !== undefined && (await this.#compactor.giveUp(vchannel, hopeless))) this.#staged.gaveUp();
  }

  #seen(collection: CollectionDoc, vchannel: string, nodes: string): Seen {
    const { catalog } = this.#ctx;
    return [collection, catalog.manifest(vchannel), catalog.view(vchannel), nodes];
  }

  /** Undefined when the collection is not loaded, or was dropped. */
  #shard(vchannel: string): Shard | undefined {
    const { catalog } = this.#ctx;
    const manifest = catalog.manifest(vchannel);
    const collection = manifest === undefined ? undefined : catalog.collection(manifest.collectionId);
    if (manifest === undefined || collection?.loaded === undefined) return undefined;
    return {
      collection,
      collectionGuard: guardDoc(catalog.cache, metaKeys.collection(collection.collectionId)),
      manifest,
      manifestRevision: catalog.cache.revisionOf(metaKeys.manifest(vchannel)),
      view: catalog.view(vchannel),
      viewRevision: catalog.cache.revisionOf(metaKeys.view(vchannel)),
      wanted: replicasByGroup(collection.loaded),
      served: loadedPartitions(collection),
    };
  }

  #nodes(): { nodes: PlanNodes; signature: string } {
    const { catalog, nodes } = this.#ctx;
    const plan = queryNodes(nodes, catalog).map(({ lease: { nodeId, isDraining, state }, group }): PlanNode => {
      const limitBytes = Number(state.memoryLimitBytes ?? Number.POSITIVE_INFINITY);
      const mappedLimitBytes = Number(state.mappedLimitBytes ?? 0);
      const usedBytes = Number(state.memoryBytes ?? 0);
      return { nodeId, group, isDraining, limitBytes, mappedLimitBytes, usedBytes, plannedBytes: 0 };
    });
    const signature = plan.map(({ nodeId, group, isDraining }) => `${nodeId} ${group} ${isDraining}`).join();
    return { nodes: new PlanNodes(plan), signature };
  }

  /** What nodes said counts while they live and the segment is wanted: afterwards they may have dropped it. */
  #forget(nodes: PlanNodes): void {
    const { catalog } = this.#ctx;
    const wanted = new Set<string>();
    const replaced = new Set<string>();
    const vchannels = new Set<string>();
    for (const collection of catalog.collections()) {
      const served = loadedPartitions(collection);
      for (const { vchannel } of collection.shards) {
        vchannels.add(vchannel);
        const manifest = served.size === 0 ? undefined : catalog.manifest(vchannel);
        for (const { segmentId, partitionId } of manifest === undefined ? [] : allSegments(manifest)) {
          if (served.has(partitionId)) wanted.add(segmentId);
        }
        for (const { replaces } of manifest?.staged ?? []) replaced.add(replaces[0]!);
      }
    }
    this.#copies.forget(
      (segmentId) => wanted.has(segmentId),
      (nodeId) => nodes.get(nodeId) !== undefined,
    );
    this.#staged.forget((segmentId) => replaced.has(segmentId));
    for (const segmentId of this.#moves.keys()) if (!wanted.has(segmentId)) this.#moves.delete(segmentId);
    for (const known of [this.#settled, this.#problems]) {
      for (const vchannel of known.keys()) if (!vchannels.has(vchannel)) known.delete(vchannel);
    }
  }

  async #stepShard(shard: Shard, nodes: PlanNodes): Promise<ShardStep> {
    const { collection, manifest, view } = shard;
    const { vchannel } = manifest;
    const mapping = mappingOf(collection);
    const next: ViewDoc["segments"] = {};
    const dropped = new Map<string, string[]>();
    const loads = new Map<string, SegmentDoc[]>();
    let isSettled = true;
    let problem = "";
    const place = (segment: SegmentDoc): Placed => {
      const { segmentId } = segment;
      const move = this.#moveOf(segmentId, view);
      const plan = planCopies(this.#planSegment(segment, view, nodes), shard.wanted, nodes, move?.from);
      if (!plan.isComplete || plan.load.length > 0 || move !== undefined) isSettled = false;
      if (plan.noRoomIn !== null) problem ||= noRoom(segment, plan.noRoomIn, nodes);
      if (!plan.isComplete) problem ||= this.#copies.failure(segmentId);
      const version = versionOf(segment, mapping);
      const outdated = plan.serve.filter((nodeId) => !this.#copies.isLoaded(segmentId, nodeId, version));
      for (const nodeId of [...plan.load, ...outdated]) {
        isSettled = false;
        if (!this.#copies.isResting(segmentId, nodeId)) append(loads, nodeId, segment);
      }
      for (const nodeId of this.#ready(segment, view, nodes)) {
        if (!plan.serve.includes(nodeId)) append(dropped, nodeId, segmentId);
      }
      return { ...plan, obstacle: this.#obstacle(segment, plan, nodes) };
    };
    for (const [i, segment] of manifest.segments.entries()) {
      if (i % SEGMENTS_A_TURN === 0) await takeTurn(this.#ctx.clock);
      // Nodes by themselves forget segments of a released partition: nobody reads them any more.
      if (!shard.served.has(segment.partitionId)) continue;
      const { serve } = place(segment);
      if (serve.length > 0) next[segment.segmentId] = serve;
    }
    const { swap, hopeless } = this.#staged.step(shard, next, place);
    if (this.#placeImports(shard, place)) isSettled = false;
    this.#load(shard, loads);
    this.#note(collection, vchannel, problem);
    if (swap !== undefined) {
      for (const segmentId of swap.dropped) {
        for (const nodeId of next[segmentId] ?? []) append(dropped, nodeId, segmentId);
      }
      const ops = [putManifest(shard, swap.manifest), putView(shard, swap.segments)];
      return { ops, dropped, isSettled: false, hopeless };
    }
    const isPlaced = ({ segmentId, partitionId }: SegmentDoc) =>
      next[segmentId] !== undefined || !shard.served.has(partitionId);
    const isWhole = view !== undefined || manifest.segments.every(isPlaced);
    if (isWhole && (view === undefined || !sameSegments(view.segments, next))) {
      return { ops: [putView(shard, next)], dropped, isSettled: false, hopeless };
    }
    return { ops: [], dropped, isSettled: isSettled && isWhole && dropped.size === 0, hopeless };
  }

  /** Why a segment is not served as it should be, where nothing that is under way will change that; empty otherwise. */
  #obstacle(segment: SegmentDoc, { isComplete, noRoomIn }: CopyPlan, nodes: PlanNodes): string {
    // Where there is no node at all, one is awaited: what is served now is not served either.
    if (noRoomIn !== null && nodes.takers(noRoomIn).length > 0) return noRoom(segment, noRoomIn, nodes);
    return isComplete ? "" : this.#copies.refusal(segment.segmentId);
  }

  /** Has imported segments loaded that have their indexes. False when there are none. */
  #placeImports({ collection, manifest, served }: Shard, place: (segment: SegmentDoc) => Placed): boolean {
    const { vchannel, imports = [] } = manifest;
    const copies = new Map<string, string[]>();
    for (const entry of imports) {
      if (!hasAllIndexes(entry, collection, this.#ctx.config.coordinator.indexRowsMin)) continue;
      for (const segment of entry.segments) {
        if (!served.has(segment.partitionId)) continue;
        const { isComplete, serve } = place(segment);
        if (isComplete && serve.length > 0) copies.set(segment.segmentId, serve);
      }
    }
    if (imports.length > 0) this.#importCopies.set(vchannel, copies);
    return imports.length > 0;
  }

  /** Where an imported segment can be read; undefined while it is not wherever it is to be. */
  importCopies(vchannel: string, segmentId: string): string[] | undefined {
    return this.#importCopies.get(vchannel)?.get(segmentId);
  }

  /** Of a shard that nobody reads only the manifest changes. */
  async #swapUnloaded(vchannel: string): Promise<void> {
    const { catalog } = this.#ctx;
    const { cache } = catalog;
    const manifest = catalog.manifest(vchannel);
    const collection = manifest === undefined ? undefined : catalog.collection(manifest.collectionId);
    if (manifest === undefined || collection === undefined || collection.loaded !== undefined) return;
    const { indexRowsMin } = this.#ctx.config.coordinator;
    const complete = manifest.staged.filter((entry) => hasAllIndexes(entry, collection, indexRowsMin));
    if (complete.length === 0) return;
    await this.#leadership.commit([
      putDoc(cache, metaKeys.manifest(vchannel), complete.reduce(withSwapped, manifest)),
      guardDoc(cache, metaKeys.collection(collection.collectionId)),
    ]);
  }

  /** A move that is still under way: its copy is coming, or there, and the one that it replaces is served. */
  #moveOf(segmentId: string, view: ViewDoc | undefined): Move | undefined {
    const move = this.#moves.get(segmentId);
    if (move === undefined) return undefined;
    const isComing = this.#copies.isLoading(segmentId, move.to) || this.#copies.isLoaded(segmentId, move.to);
    if (isComing && view?.segments[segmentId]?.includes(move.from) === true) return move;
    this.#moves.delete(segmentId);
    return undefined;
  }

  #ready({ segmentId }: SegmentDoc, view: ViewDoc | undefined, nodes: PlanNodes): string[] {
    const serving = (view?.segments[segmentId] ?? []).filter((nodeId) => nodes.get(nodeId) !== undefined);
    const loaded = this.#copies.loadedOn(segmentId);
    return [...serving, ...[...loaded].filter((nodeId) => !serving.includes(nodeId))];
  }

  #planSegment(segment: SegmentDoc, view: ViewDoc | undefined, nodes: PlanNodes): PlanSegment {
    const { segmentId } = segment;
    return {
      segmentId,
      bytes: bytesOf(segment),
      ready: this.#ready(segment, view, nodes),
      loading: this.#copies.loadingOn(segmentId),
      resting: this.#copies.restingOn(segmentId),
    };
  }

  /** What a shard puts on each node, or will: bytes of objects stand for memory. */
  #bytesOf({ manifest, view }: Shard, nodes: PlanNodes): Map<string, number> {
    const sums = new Map<string, number>();
    const add = (segment: SegmentDoc) => {
      const bytes = bytesOf(segment);
      const from = this.#moves.get(segment.segmentId)?.from;
      const there = new Set([...this.#ready(segment, view, nodes), ...this.#copies.loadingOn(segment.segmentId)]);
      for (const nodeId of there) if (nodeId !== from) sums.set(nodeId, (sums.get(nodeId) ?? 0) + bytes);
    };
    for (const segment of allSegments(manifest)) add(segment);
    return sums;
  }

  /** Begins some moves from full nodes to empty ones, unless lost or new segments are waiting to be loaded. */
  async #evenOut(nodes: PlanNodes, signature: string): Promise<void> {
    let movesLeft = MOVES_MAX - this.#moves.size;
    if (movesLeft <= 0 || this.loading - this.#moves.size >= LOADING_MAX) return;
    let isEven = true;
    for (const group of nodes.groups) {
      const takers = nodes.takers(group);
      if (!isUneven(takers)) continue;
      const { held, shards } = await this.#held(nodes, group);
      const moves = planMoves(takers, held, movesLeft);
      movesLeft -= moves.length;
      for (const move of moves) {
        isEven = false;
        const { shard, segment } = shards.get(move.segmentId)!;
        this.#moves.set(move.segmentId, move);
        this.#settled.delete(shard.manifest.vchannel);
        this.#load(shard, new Map([[move.to, [segment]]]));
        const { logger } = this.#ctx;
        logger.debug({ ...move, collection: shard.collection.name }, "segment moves to another query node");
      }
    }
    this.#evenAmong = isEven ? signature : "";
  }

  /** By node of a group: the segments that may move. */
  async #held(nodes: PlanNodes, group: string) {
    const held = new Map<string, PlanSegment[]>();
    const shards = new Map<string, { shard: Shard; segment: SegmentDoc }>();
    const { catalog, clock } = this.#ctx;
    for (const { vchannel } of catalog.collections().flatMap((collection) => collection.shards)) {
      await takeTurn(clock);
      const shard = this.#shard(vchannel);
      const count = shard?.wanted.get(group);
      if (shard?.view === undefined || count === undefined) continue;
      const leaving = new Set(shard.manifest.staged.flatMap(({ replaces }) => replaces));
      for (const segment of shard.manifest.segments) {
        const { segmentId } = segment;
        if (leaving.has(segmentId) || this.#moves.has(segmentId) || !shard.served.has(segment.partitionId)) continue;
        const planned = this.#planSegment(segment, shard.view, nodes);
        if (planned.loading.length > 0 || !hasCopies(planned, group, count, nodes)) continue;
        shards.set(segmentId, { shard, segment });
        for (const nodeId of planned.ready) if (nodes.get(nodeId)?.group === group) append(held, nodeId, planned);
      }
    }
    return { held, shards };
  }

  #load({ collection, manifest }: Shard, loads: ReadonlyMap<string, readonly SegmentDoc[]>): void {
    for (const [nodeId, segments] of loads) {
      const room = LOADING_MAX - this.#copies.loadingBy(nodeId);
      const due = segments.filter(({ segmentId }) => !this.#copies.isLoading(segmentId, nodeId)).slice(0, room);
      for (const part of this.#parts(due)) {
        for (const { segmentId } of part) this.#copies.begin(segmentId, nodeId);
        void this.#askLoad(collection, manifest, nodeId, part).finally(() => {
          for (const { segmentId } of part) this.#copies.end(segmentId, nodeId);
          this.#onDone((manifest.imports ?? []).length > 0);
        });
      }
    }
  }

  /**
   * The segments of one request. One that failed before goes alone, so that it does not hold up the others for ever.
   */
  #parts(segments: readonly SegmentDoc[]): SegmentDoc[][] {
    const parts: SegmentDoc[][] = [];
    const sound: SegmentDoc[] = [];
    for (const segment of segments) {
      if (this.#copies.failure(segment.segmentId) === "") sound.push(segment);
      else parts.push([segment]);
    }
    for (let from = 0; from < sound.length; from += LOAD_TOGETHER) parts.push(sound.slice(from, from + LOAD_TOGETHER));
    return parts;
  }

  async #askLoad(
    collection: CollectionDoc,
    manifest: ManifestDoc,
    nodeId: string,
    segments: readonly SegmentDoc[],
  ): Promise<void> {
    const { logger } = this.#ctx;
    const { vchannel } = manifest;
    const segmentIds = segments.map(({ segmentId }) => segmentId);
    const fields = { collection: collection.name, vchannel, segments: segmentIds.length, queryNode: nodeId };
    try {
      await this.#askPatiently(collection.collectionId, vchannel, nodeId, segmentIds);
      const mapping = mappingOf(collection);
      for (const segment of segments) {
        this.#copies.loaded(segment.segmentId, nodeId, versionOf(segment, mapping));
      }
      logger.debug(fields, "segments loaded");
    } catch (error) {
      if (this.#leadership.signal.aborted) return;
      const known = asVdbError(error);
      for (const { segmentId } of segments) this.#copies.failed(segmentId, nodeId, known);
      // A node that is gone or a collection that was dropped is news to nobody.
      const level = isVdbError(error, "node_not_found", "collection_not_found") ? "debug" : "warn";
      logger[level]({ ...fields, error: known.message }, "segments not loaded, will be tried again");
    }
  }

  /**
   * A node with much to load goes on loading when an ask has taken too long, so it is asked for the same again: another node
   * would load it as well. @throws VdbError node_not_found when the node is gone; what it says
   */
  async #askPatiently(collectionId: number, vchannel: string, nodeId: string, segmentIds: string[]): Promise<void> {
    const { catalog } = this.#ctx;
    const revisionOf = (key: string) => catalog.cache.revisionOf(key);
    for (let asks = 1; ; asks++) {
      const revision = Math.max(revisionOf(metaKeys.manifest(vchannel)), revisionOf(metaKeys.collection(collectionId)));
      const request = { collectionId, vchannel, segmentIds, revision };
      try {
        await askForJob(this.#ctx, { role: "query", nodeId }, this.#leadership.signal, loadSegments, request);
        return;
      } catch (error) {
        const isWanted = catalog.collection(collectionId)?.loaded !== undefined;
        if (!isWanted || asks === LOAD_ASKS_MAX || !isVdbError(error, "deadline_exceeded")) throw error;
      }
    }
  }

  /** Tells nodes to forget what the view no longer names on them, once reads under the old view have ended. */
  #releaseLater(vchannel: string, dropped: ReadonlyMap<string, readonly string[]>): void {
    const { bus, catalog, clock } = this.#ctx;
    if (dropped.size === 0) return;
    for (const [nodeId, segmentIds] of dropped) {
      for (const segmentId of segmentIds) this.#copies.drop(segmentId, nodeId);
    }
    clock.timer(RELEASE_AFTER_MS, () => {
      if (this.#leadership.signal.aborted) return;
      const view = catalog.view(vchannel)?.segments ?? {};
      for (const [nodeId, segmentIds] of dropped) {
        // It may have come back meanwhile.
        const unwanted = segmentIds.filter(
          (segmentId) => view[segmentId]?.includes(nodeId) !== true && !this.#copies.isKnown(segmentId, nodeId),
        );
        if (unwanted.length > 0) bus.tell(releaseSegments, { nodeId }, { segmentIds: unwanted });
      }
    });
  }

  /** Logs a problem when it comes up, not at every step. */
  #note(collection: CollectionDoc, vchannel: string, problem: string): void {
    if ((this.#problems.get(vchannel) ?? "") === problem) return;
    if (problem === "") this.#problems.delete(vchannel);
    else {
      this.#problems.set(vchannel, problem);
      this.#ctx.logger.warn({ collection: collection.name, vchannel, problem }, "collection is not wholly loaded");
    }
  }
}

function putManifest({ manifestRevision: revision }: Shard, manifest: ManifestDoc): MetaOp {
  const key = metaKeys.manifest(manifest.vchannel);
  return { op: "put", key, value: encodeDoc(key, manifest), revision };
}

function putView({ manifest, view, viewRevision: revision }: Shard, segments: ViewDoc["segments"]): MetaOp {
  const key = metaKeys.view(manifest.vchannel);
  const doc: ViewDoc = { version: (view?.version ?? 0) + 1, segments };
  return { op: "put", key, value: encodeDoc(key, doc), revision };
}

function bytesOf({ object, indexes }: SegmentDoc): number {
  let { bytes } = object;
  for (const index of Object.values(indexes)) bytes += index.object.bytes;
  return bytes;
}

function noRoom(segment: SegmentDoc, group: string, nodes: PlanNodes): string {
  const takers = nodes.takers(group);
  const what = `segment ${segment.segmentId} needs ${bytesOf(segment)} bytes`;
  const free = Math.max(0, ...takers.map(freeBytes));
  const wanted = takers.some(({ mappedLimitBytes }) => mappedLimitBytes > 0) ? "query.cacheBytes" : "query.memoryBytes";
  return `${what}: no query node of resource group ${group} has room (${takers.length} nodes, at most ${free} bytes free): add query nodes or raise ${wanted}`;
}

function isSame(a: Seen, b: Seen): boolean {
  return a.every((part, i) => part === b[i]);
}

function sameSegments(a: ViewDoc["segments"], b: ViewDoc["segments"]): boolean {
  const keys = Object.keys(a);
  if (keys.length !== Object.keys(b).length) return false;
  return keys.every((key) => {
    const [x = [], y = []] = [a[key], b[key]];
    return x.length === y.length && x.every((nodeId) => y.includes(nodeId));
  });
}
