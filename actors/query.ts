/**
 * Query node: answers reads over the sealed segments that the coordinator placed on it.
 *
 * Owns     loaded segments: columns, indexes, the deletes that cover their rows (query/loaded-segments.ts); which of them
 *          are in memory and which in mapped files (query/memory-budget.ts)
 * Serves   query.search, .term-statistics, .query, .fetch, .load, .release
 * Follows  the deletes in the log of each channel whose shards it serves (query/follow-deletes.ts)
 * Invariants
 *   Q1. A read starts only after every delete up to the log sequence that it names is applied.
 *   Q2. A segment is served whole or not at all: one that is not loaded fails the read.
 *   Q3. The event loop reads no mapped vectors before a thread has read them (query/touch-rows.ts): it never waits for the disk.
 */
import type { Actor, ActorContext } from "../runtime/actor.ts";
import type { EngineObserved } from "../runtime/ann/engine.ts";
import type { Call } from "../runtime/bus/bus.ts";
import { asVdbError, VdbError } from "../runtime/errors.ts";
import { shardGone } from "../runtime/meta/catalog.ts";
import { comingSegments, findSegment } from "../runtime/meta/manifest.ts";
import { type Figures, samplesBy } from "../runtime/metrics/metrics.ts";
import { loadedPartitions } from "../runtime/partitions.ts";
import type { CollectionDoc, ManifestDoc } from "../runtime/protocol/catalog.ts";
import * as query from "../runtime/protocol/query.ts";
import { fetchFromSegments } from "../runtime/search/fetch.ts";
import { mergeAnswers } from "../runtime/search/merge-answers.ts";
import { querySegment } from "../runtime/search/query-segment.ts";
import { reduceInTurns } from "../runtime/search/reduce-in-turns.ts";
import { searchSegment } from "../runtime/search/search-segment.ts";
import { defaultsOf } from "../runtime/segment/default-columns.ts";
import type { Segment } from "../runtime/segment/segment.ts";
import { addStatistics, noStatistics } from "../runtime/sparse/statistics.ts";
import { workOf } from "../runtime/turns.ts";
import { DeleteFollowers } from "./query/follow-deletes.ts";
import { holdFiles } from "./query/held-file.ts";
import type { Engines } from "./query/loaded-index.ts";
import { type LoadedSegment, LoadedSegments } from "./query/loaded-segments.ts";
import { searchSealed } from "./query/search-sealed.ts";
import { touchRefs, touchRows } from "./query/touch-rows.ts";

const READS = { concurrency: 1024, capacity: 4096 };
/** Loads of different segments share disk and network: a few at once are as fast as many. */
const LOADS = { concurrency: 4, capacity: 1024 };

/** How often what is loaded is compared with what the views say; loads and releases are asked for as they fall due. */
const RECONCILE_MS = 10_000;

/** A segment that has left its manifest is kept for this long: reads that began before may want it. */
const REPLACED_AFTER_MS = 20_000;

/** A copy that views have named only on other nodes for this long is useless: its coordinator did not live to name or release it. */
const STRAY_AFTER_MS = 120_000;

/** Segments of a manifest, by what is to become of them. */
interface KnownIds {
  readonly collection: CollectionDoc;
  readonly present: ReadonlySet<string>;
  readonly staged: ReadonlySet<string>;
  readonly released: ReadonlySet<string>;
}

export class QueryActor implements Actor {
  readonly #ctx: ActorContext;
  readonly #deletes: DeleteFollowers;
  #engines: Engines | undefined;
  #segments: LoadedSegments | undefined;
  /** Segment to the time since when nobody has needed it here. */
  readonly #uselessSince = new Map<string, number>();
  readonly #knownIds = new WeakMap<ManifestDoc, KnownIds>();

  constructor(ctx: ActorContext) {
    this.#ctx = ctx;
    this.#deletes = new DeleteFollowers(ctx);
  }

  async start(): Promise<void> {
    const ctx = this.#ctx;
    const { nodeId } = ctx;
    const cache = await ctx.machine.openObjectCache();
    const engine = await ctx.machine.openEngine();
    ctx.scope.use(cache);
    ctx.scope.use(engine);
    ctx.scope.defer(() => this.#deletes.close());
    const mappedEngine = ctx.machine.openMappedEngine?.();
    if (mappedEngine !== undefined) ctx.scope.use(mappedEngine);
    this.#engines = { engine, mappedEngine };
    this.#segments = new LoadedSegments(ctx, { engines: this.#engines, cache, deletes: this.#deletes });

    ctx.serve(query.searchSegments, { nodeId }, (request, call) => this.#search(request, call), READS);
    ctx.serve(query.segmentTermStatistics, { nodeId }, (request, call) => this.#termStatistics(request, call), READS);
    ctx.serve(query.querySegments, { nodeId }, (request, call) => this.#query(request, call), READS);
    ctx.serve(query.fetchSegmentRows, { nodeId }, (request, call) => this.#fetch(request, call), READS);
    ctx.serve(query.loadSegments, { nodeId }, (request, call) => this.#load(request, call), LOADS);
    ctx.serve(query.releaseSegments, { nodeId }, (request) => this.#release(request), LOADS);
    ctx.scope.spawn("reconcile", (signal) => this.#reconcile(signal));
  }

  observe(): Record<string, unknown> {
    return {
      segments: this.#segments?.size ?? 0,
      memoryBytes: this.#segments?.memoryBytes() ?? 0,
      filterCacheBytes: this.#segments?.filterCacheBytes() ?? 0,
      filters: { ...this.#segments?.filterTally },
      memoryLimitBytes: this.#ctx.config.query.memoryBytes,
      mappedBytes: this.#segments?.mappedBytes() ?? 0,
      mappedLimitBytes: this.#mappedLimitBytes(),
      resourceGroup: this.#ctx.config.query.resourceGroup,
      deletePositions: this.#deletes.positions(),
      deletesInMemory: this.#deletes.keptRows(),
      engine: this.#engines?.engine.observe() ?? null,
      mappedEngine: this.#engines?.mappedEngine?.observe() ?? null,
    };
  }

  figures(): Figures {
    const { engine, mappedEngine } = this.#engines ?? {};
    const engines = Object.entries({ memory: engine?.observe(), mapped: mappedEngine?.observe() });
    const byEngine = (read: (observed: EngineObserved) => number) =>
      samplesBy(
        "engine",
        engines.flatMap(([name, observed]) => (observed === undefined ? [] : [[name, read(observed)] as const])),
      );
    return {
      vdb_sealed_segments: this.#segments?.size ?? 0,
      vdb_query_memory_bytes: this.#segments?.memoryBytes() ?? 0,
      vdb_query_memory_bytes_max: this.#ctx.config.query.memoryBytes,
      vdb_query_mapped_bytes: this.#segments?.mappedBytes() ?? 0,
      vdb_query_mapped_bytes_max: this.#mappedLimitBytes(),
      vdb_query_filter_cache_bytes: this.#segments?.filterCacheBytes() ?? 0,
      vdb_query_delete_rows: this.#deletes.keptRows(),
      vdb_engine_searches_total: byEngine(({ searches }) => searches),
      vdb_engine_waiting: byEngine(({ queued }) => queued),
      vdb_engine_running: byEngine(({ inFlight }) => inFlight),
      vdb_engine_restarts_total: byEngine(({ restarts }) => restarts),
    };
  }

  /** How much may be loaded here in all, in bytes of segment files, since each is in the disk cache; 0: no more than memory has room for. */
  #mappedLimitBytes(): number {
    const { mmap, cacheBytes } = this.#ctx.config.query;
    return this.#engines?.mappedEngine === undefined || mmap === "never" ? 0 : cacheBytes;
  }

  async #search(request: query.SearchSegments, call: Call) {
    const { search, segmentIds } = request;
    const loaded = this.#find(segmentIds);
    using _held = holdFiles(loaded);
    await this.#makeReady(loaded, request, call);
    const tools = { ...workOf(this.#ctx, call), ...this.#engines! };
    const parts = await Promise.all(
      loaded.map((one) =>
        searchSegment(
          one.segment,
          search,
          request.filter,
          (asked, filter) => searchSealed(tools, one, { ...request, search: asked, filter }),
          tools,
        ),
      ),
    );
    if (parts.length !== segmentIds.length) throw new Error("a segment was left out");
    return { hits: await reduceInTurns(parts, search, this.#ctx.clock) };
  }

  async #termStatistics(request: query.SegmentTermStatistics, call: Call) {
    const { fieldId, terms, segmentIds } = request;
    const loaded = this.#find(segmentIds);
    await this.#makeReady(loaded, request, call);
    const tools = { clock: this.#ctx.clock, deadline: call.deadline };
    const parts = await Promise.all(loaded.map(({ sparse }) => sparse.statistics(fieldId, terms, request, tools)));
    const sum = noStatistics(terms.length);
    for (const part of parts) addStatistics(sum, part);
    return sum;
  }

  async #query(request: query.QuerySegments, call: Call) {
    const loaded = this.#find(request.segmentIds);
    using _held = holdFiles(loaded);
    await this.#makeReady(loaded, request, call);
    const options = { ...request, ...workOf(this.#ctx, call) };
    const tools = { ...this.#engines!, deadline: call.deadline };
    const parts = await Promise.all(
      loaded.map((one) => {
        const beforeRows = (rows: Uint32Array) => touchRows(tools, one, rows, request.fieldIds);
        return querySegment(one.segment, { ...options, beforeRows });
      }),
    );
    return mergeAnswers(parts, request, this.#ctx.clock);
  }

  async #fetch(request: (typeof query.fetchSegmentRows)["request"]["_output"], call: Call) {
    const { refs, fieldIds } = request;
    const segments = this.#segments!;
    const find = (segmentId: string) => segments.find(segmentId)?.segment;
    await this.#complete(
      request,
      refs.segments.flatMap((segmentId) => find(segmentId) ?? []),
      call,
    );
    const tools = { ...this.#engines!, deadline: call.deadline };
    await touchRefs(tools, (segmentId) => segments.find(segmentId), refs, fieldIds);
    return { batch: fetchFromSegments(find, refs, fieldIds) };
  }

  /** The segments asked for (Q2). @throws VdbError segment_not_loaded */
  #find(segmentIds: readonly string[]): LoadedSegment[] {
    return segmentIds.map((segmentId) => this.#segments!.get(segmentId));
  }

  /** Waits until the segments have the deletes that the read must see (Q1). */
  async #makeReady(
    loaded: readonly LoadedSegment[],
    request: { collectionId: number; mutSeq: number; schemaVersion?: number | undefined },
    call: Call,
  ): Promise<void> {
    await this.#complete(
      request,
      loaded.map(({ segment }) => segment),
      call,
    );
    const channels = new Set(loaded.map(({ pchannel }) => pchannel));
    for (const pchannel of channels) await this.#deletes.applied(pchannel, request.mutSeq, call.deadline);
    this.#segments!.requireStill(loaded);
  }

  /** Gives rows from before a field was added its default. The caller may have heard of the field before this node. */
  async #complete(
    { collectionId, schemaVersion = 0 }: { collectionId: number; schemaVersion?: number | undefined },
    segments: readonly Segment[],
    call: Call,
  ): Promise<void> {
    const { catalog } = this.#ctx;
    const known = catalog.collection(collectionId)?.schema.version;
    if (known !== undefined && known < schemaVersion) await catalog.cache.sync(call.deadline);
    const schema = catalog.collection(collectionId)?.schema;
    if (schema === undefined) return;
    for (const segment of segments) segment.complete(defaultsOf(schema));
  }

  async #load(request: (typeof query.loadSegments)["request"]["_output"], call: Call) {
    const { catalog } = this.#ctx;
    await catalog.cache.waitFor(request.revision, call.deadline);
    const collection = catalog.collection(request.collectionId);
    const manifest = catalog.manifest(request.vchannel);
    if (collection === undefined || manifest === undefined) {
      throw shardGone(catalog, request.vchannel);
    }
    for (const segmentId of request.segmentIds) {
      const doc = findSegment(manifest, segmentId);
      if (doc === undefined)
        throw new VdbError("segment_not_loaded", `segment ${segmentId} is not in the manifest of ${request.vchannel}`);
      // Until a view names it here.
      this.#uselessSince.delete(segmentId);
      await this.#segments!.load(collection, manifest, doc);
    }
    return {};
  }

  async #release(request: { segmentIds: string[] }) {
    for (const segmentId of request.segmentIds) await this.#segments!.release(segmentId);
    return {};
  }

  /**
   * Brings what is loaded in line with the meta store: loads what a view names here, even if this actor was restarted
   * or the coordinator that asked for it is gone; forgets what no collection wants.
   */
  async #reconcile(signal: AbortSignal): Promise<void> {
    const { clock, logger } = this.#ctx;
    while (!signal.aborted) {
      try {
        // First, since it makes room.
        await this.#releaseUnwanted();
        await this.#loadNamed();
        await this.#segments!.copySurplus();
      } catch (error) {
        logger.warn({ error: asVdbError(error).message }, "segments are not as the views say yet");
      }
      await clock.sleep(RECONCILE_MS, signal);
    }
  }

  /** Each is looked at again at its turn: while others are released it may be asked for, and is served from then on. */
  async #releaseUnwanted(): Promise<void> {
    const segments = this.#segments!;
    for (const segmentId of this.#uselessSince.keys()) {
      if (segments.find(segmentId) === undefined) this.#uselessSince.delete(segmentId);
    }
    const isWanted = (vchannel: string, segmentId: string) => this.#isWanted(vchannel, segmentId);
    for (const segmentId of segments.idsExcept(isWanted)) await segments.release(segmentId, isWanted);
  }

  /** Whether somebody needs a segment here, or did not long ago. Being named by no view is not enough: those being placed, or staged, are not named yet. */
  #isWanted(vchannel: string, segmentId: string): boolean {
    const { catalog, clock, nodeId } = this.#ctx;
    const manifest = catalog.manifest(vchannel);
    const collection = manifest === undefined ? undefined : catalog.collection(manifest.collectionId);
    if (manifest === undefined || collection?.loaded === undefined) return false;
    const { present, staged, released } = this.#idsIn(manifest, collection);
    if (!staged.has(segmentId) && released.has(segmentId)) return false;
    const isPresent = present.has(segmentId);
    const named = catalog.view(vchannel)?.segments[segmentId];
    if (staged.has(segmentId) || (isPresent && (named === undefined || named.includes(nodeId)))) {
      this.#uselessSince.delete(segmentId);
      return true;
    }
    const now = clock.monotonic();
    const since = this.#uselessSince.get(segmentId) ?? now;
    this.#uselessSince.set(segmentId, since);
    return now - since < (isPresent ? STRAY_AFTER_MS : REPLACED_AFTER_MS);
  }

  /** Documents are immutable: each pair's segments are gathered once. */
  #idsIn(manifest: ManifestDoc, collection: CollectionDoc): KnownIds {
    const known = this.#knownIds.get(manifest);
    if (known?.collection === collection) return known;
    const idsOf = (segments: ManifestDoc["segments"]) => new Set(segments.map(({ segmentId }) => segmentId));
    const served = loadedPartitions(collection);
    const ids: KnownIds = {
      collection,
      present: idsOf(manifest.segments),
      staged: idsOf(comingSegments(manifest)),
      released: idsOf(manifest.segments.filter(({ partitionId }) => !served.has(partitionId))),
    };
    this.#knownIds.set(manifest, ids);
    return ids;
  }

  /** A segment that cannot be loaded does not stop the others. @throws the newest of what went wrong */
  async #loadNamed(): Promise<void> {
    const { catalog, nodeId } = this.#ctx;
    let failure: unknown;
    for (const collection of catalog.collections()) {
      for (const { vchannel } of collection.shards) {
        const view = catalog.view(vchannel)?.segments ?? {};
        const manifest = catalog.manifest(vchannel);
        for (const doc of manifest?.segments ?? []) {
          if (!view[doc.segmentId]?.includes(nodeId)) continue;
          if (this.#segments!.find(doc.segmentId) !== undefined) continue;
          try {
            await this.#segments!.load(collection, manifest!, doc);
          } catch (error) {
            failure = error;
          }
        }
      }
    }
    if (failure !== undefined) throw failure;
  }
}
