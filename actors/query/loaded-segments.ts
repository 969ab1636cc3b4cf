/**
 * The sealed segments that this node serves: files pinned in the disk cache, columns in memory, indexes in the engine.
 * Memory is bounded: a load beyond the bound is refused with a clear error, never half done.
 */
import type { ActorContext } from "../../runtime/actor.ts";
import type { IndexToLoad, SearchEngine } from "../../runtime/ann/engine.ts";
import { type IndexSpec, isLoadedType, storedIndexSpec } from "../../runtime/ann/index-params.ts";
import type { DenseVectorType } from "../../runtime/ann/packed-vectors.ts";
import type { DiskCache, PinnedFile } from "../../runtime/blob/disk-cache.ts";
import type { ObjectRef } from "../../runtime/blob/port.ts";
import { isVdbError, VdbError } from "../../runtime/errors.ts";
import { findSegment, segmentObjects } from "../../runtime/meta/manifest.ts";
import type { CollectionDoc, ManifestDoc, SegmentDoc, SegmentIndexDoc } from "../../runtime/protocol/catalog.ts";
import { indexHints } from "../../runtime/scalar-index/definition.ts";
import { prepareSegment } from "../../runtime/scalar-index/prepare.ts";
import { allowIndexes, cacheOf } from "../../runtime/scalar-index/segment-cache.ts";
import { primaryField } from "../../runtime/schema.ts";
import { defaultsOf } from "../../runtime/segment/default-columns.ts";
import { applyDeletedRows, readSegment } from "../../runtime/segment/read-segment.ts";
import type { Segment } from "../../runtime/segment/segment.ts";
import { SparseSegment } from "../../runtime/sparse/sparse-segment.ts";
import type { DeleteFollowers } from "./follow-deletes.ts";
import type { FollowingSegment } from "./shard-deletes.ts";

const SYNC_TIMEOUT_MS = 10_000;

export interface LoadedIndex {
  readonly indexId: number;
  /** Name of the index in the engine. */
  readonly key: string;
  readonly spec: IndexSpec;
  readonly bytes: number;
  readonly unpin: () => void;
}

export interface LoadedSegment {
  readonly segment: Segment;
  readonly vchannel: string;
  readonly pchannel: number;
  readonly bytes: number;
  readonly unpin: () => void;
  /** By field id. */
  readonly indexes: Map<number, LoadedIndex>;
  /** Its sparse vectors, indexed. */
  readonly sparse: SparseSegment;
}

export class LoadedSegments {
  readonly #ctx: ActorContext;
  readonly #engine: SearchEngine;
  readonly #cache: DiskCache;
  readonly #deletes: DeleteFollowers;
  readonly #loaded = new Map<string, LoadedSegment>();
  /** Bytes of loads that are under way: room that is taken. */
  #comingBytes = 0;
  /** One change of a segment at a time. */
  readonly #changes = new Map<string, Promise<void>>();

  constructor(ctx: ActorContext, parts: { engine: SearchEngine; cache: DiskCache; deletes: DeleteFollowers }) {
    this.#ctx = ctx;
    this.#engine = parts.engine;
    this.#cache = parts.cache;
    this.#deletes = parts.deletes;
  }

  /** @throws VdbError segment_not_loaded */
  get(segmentId: string): LoadedSegment {
    const loaded = this.#loaded.get(segmentId);
    if (loaded === undefined)
      throw new VdbError("segment_not_loaded", `segment ${segmentId} is not loaded on this node`);
    return loaded;
  }

  find(segmentId: string): Segment | undefined {
    return this.#loaded.get(segmentId)?.segment;
  }

  get size(): number {
    return this.#loaded.size;
  }

  memoryBytes(): number {
    let bytes = 0;
    for (const loaded of this.#loaded.values()) {
      bytes += loaded.bytes + loaded.sparse.memoryBytes;
      for (const index of loaded.indexes.values()) bytes += index.bytes;
    }
    return bytes;
  }

  /** Of what makes filters faster: scalar indexes, and tokens of texts. */
  filterCacheBytes(): number {
    let bytes = 0;
    for (const { segment } of this.#loaded.values()) bytes += cacheOf(segment).bytes;
    return bytes;
  }

  /** Brings a segment to what its document says. Idempotent. @throws VdbError memory_limit, corrupt, unavailable */
  load(collection: CollectionDoc, manifest: ManifestDoc, doc: SegmentDoc): Promise<void> {
    return this.#exclusively(doc.segmentId, async () => {
      let loaded = this.#loaded.get(doc.segmentId);
      if (loaded === undefined) {
        using _room = this.#takeRoom(doc.object.bytes, `segment ${doc.segmentId}`);
        loaded = await this.#loadRows(collection, manifest, doc);
        this.#loaded.set(doc.segmentId, loaded);
        await this.#indexScalars(collection, loaded.segment);
      }
      for (const [fieldId, index] of Object.entries(doc.indexes)) {
        await this.#loadIndex(collection, loaded, doc, Number(fieldId), index);
      }
    });
  }

  release(segmentId: string): Promise<void> {
    return this.#exclusively(segmentId, async () => {
      const loaded = this.#loaded.get(segmentId);
      if (loaded === undefined) return;
      this.#forget(segmentId, loaded.segment);
      await this.#deletes.remove(loaded, loaded.segment);
    });
  }

  /** What is loaded and fails the test, by id. */
  except(isWanted: (vchannel: string, segmentId: string) => boolean): string[] {
    return [...this.#loaded].flatMap(([segmentId, { vchannel }]) => (isWanted(vchannel, segmentId) ? [] : [segmentId]));
  }

  async #loadRows(collection: CollectionDoc, manifest: ManifestDoc, doc: SegmentDoc): Promise<LoadedSegment> {
    const { vchannel, pchannel, collectionId } = manifest;
    const file = await this.#acquire(vchannel, doc, doc.object);
    try {
      const bytes = await file.read();
      const segment = await readSegment(doc, primaryField(collection.schema), bytes, this.#ctx.clock);
      segment.complete(defaultsOf(collection.schema));
      const sparse = await this.#indexSparse(collection, segment);
      const following: FollowingSegment = {
        segment,
        deletesSeq: 0,
        refresh: async () => {
          following.deletesSeq = await this.#readOwnDeletes(vchannel, segment);
        },
        lost: () => this.#forget(doc.segmentId, segment),
      };
      await following.refresh();
      await this.#deletes.add({ collectionId, vchannel, pchannel }, following);
      const unpin = () => file[Symbol.dispose]();
      return { segment, vchannel, pchannel, bytes: bytes.length, unpin, indexes: new Map(), sparse };
    } catch (error) {
      file[Symbol.dispose]();
      throw error;
    }
  }

  /** What filters can do without: made as far as there is room, and dropped where something else needs it. */
  async #indexScalars({ indexes, schema }: CollectionDoc, segment: Segment): Promise<void> {
    allowIndexes(segment, (bytes) => this.#usedBytes() + bytes <= this.#ctx.config.query.memoryBytes);
    await prepareSegment(segment, indexHints(indexes, schema), this.#ctx.clock);
  }

  /** @throws VdbError memory_limit */
  async #indexSparse({ schema }: CollectionDoc, segment: Segment): Promise<SparseSegment> {
    const sparse = new SparseSegment(segment);
    for (const { fieldId, type } of schema.fields) {
      if (type !== "SparseFloatVector") continue;
      using _room = this.#takeRoom(sparse.bytesToIndex(fieldId), `sparse index of segment ${segment.segmentId}`);
      await sparse.indexWhole(fieldId, this.#ctx.clock);
    }
    return sparse;
  }

  /** Applies what the newest manifest has of the segment's own deletes; returns up to where in the log those are. */
  async #readOwnDeletes(vchannel: string, segment: Segment): Promise<number> {
    const { blobs, clock } = this.#ctx;
    for (;;) {
      const doc = this.#newestDoc(vchannel, segment.segmentId);
      if (doc?.deletes === undefined) {
        if (doc === undefined) throw goneError(segment.segmentId);
        return doc.deletesSeq;
      }
      try {
        await applyDeletedRows(segment, await blobs.get(doc.deletes.object), clock);
        return doc.deletesSeq;
      } catch (error) {
        if (!(await this.#isReplaced(error, vchannel, doc, doc.deletes.object))) throw error;
      }
    }
  }

  #newestDoc(vchannel: string, segmentId: string): SegmentDoc | undefined {
    const manifest = this.#ctx.catalog.manifest(vchannel);
    return manifest === undefined ? undefined : findSegment(manifest, segmentId);
  }

  /** The object as a local file. @throws VdbError segment_not_loaded when it is gone because the segment is, or is indexed anew */
  async #acquire(vchannel: string, doc: SegmentDoc, object: ObjectRef): Promise<PinnedFile> {
    try {
      return await this.#cache.acquire(object, this.#ctx.signal);
    } catch (error) {
      if (await this.#isReplaced(error, vchannel, doc, object)) throw goneError(doc.segmentId);
      throw error;
    }
  }

  /** Whether an object could not be read because the newest manifest does not name it any more: then it was collected. */
  async #isReplaced(error: unknown, vchannel: string, doc: SegmentDoc, object: ObjectRef): Promise<boolean> {
    if (!isVdbError(error, "corrupt")) return false;
    const { catalog, clock } = this.#ctx;
    await catalog.cache.sync(clock.monotonic() + SYNC_TIMEOUT_MS);
    const newest = this.#newestDoc(vchannel, doc.segmentId);
    return newest === undefined || !segmentObjects(newest).includes(object.name);
  }

  #forget(segmentId: string, segment: Segment): void {
    const loaded = this.#loaded.get(segmentId);
    if (loaded?.segment !== segment) return;
    this.#loaded.delete(segmentId);
    for (const index of loaded.indexes.values()) this.#unloadIndex(index);
    loaded.unpin();
  }

  /** Opens an index and only then replaces the one before, so that a search always finds one. */
  async #loadIndex(
    collection: CollectionDoc,
    loaded: LoadedSegment,
    doc: SegmentDoc,
    fieldId: number,
    index: SegmentIndexDoc,
  ): Promise<void> {
    const before = loaded.indexes.get(fieldId);
    const isDefined = collection.indexes.some(({ indexId }) => indexId === index.indexId);
    if (before?.indexId === index.indexId || !isDefined || !isLoadedType(index.type)) return;
    using _room = this.#takeRoom(index.object.bytes, `index of segment ${doc.segmentId}`);
    const file = await this.#acquire(loaded.vchannel, doc, index.object);
    try {
      const { type, dimension = 0 } = collection.schema.fields.find((field) => field.fieldId === fieldId) ?? {};
      const spec = storedIndexSpec(index.type, index.params);
      const vectorType = (type ?? "FloatVector") as DenseVectorType;
      const toLoad: IndexToLoad = { ...spec, metric: index.metric, vectorType, dimension, rows: doc.rowCount };
      const key = `${doc.segmentId}.${fieldId}.${index.indexId}`;
      const { memoryBytes } = await this.#engine.load(key, file.path, toLoad);
      const unpin = () => file[Symbol.dispose]();
      loaded.indexes.set(fieldId, { indexId: index.indexId, key, spec, bytes: memoryBytes, unpin });
    } catch (error) {
      file[Symbol.dispose]();
      if (!isVdbError(error, "index_unsupported")) throw error;
      // This node's engine does not search such an index: the rows are scanned.
      this.#ctx.logger.warn({ segmentId: doc.segmentId, fieldId, error: error.message }, "index not used");
      return;
    }
    if (before !== undefined) this.#unloadIndex(before);
  }

  #unloadIndex(index: LoadedIndex): void {
    this.#engine.unload(index.key);
    index.unpin();
  }

  /** With what comes, and with what is dropped where room is needed: that is not reported, or nothing more would be placed here. */
  #usedBytes(): number {
    return this.memoryBytes() + this.#comingBytes + this.filterCacheBytes();
  }

  /** Of the node's memory, until what was loaded counts itself. @throws VdbError memory_limit */
  #takeRoom(bytes: number, what: string): Disposable {
    const { memoryBytes } = this.#ctx.config.query;
    if (this.#usedBytes() + bytes > memoryBytes) {
      for (const { segment } of this.#loaded.values()) cacheOf(segment).clear();
    }
    const used = this.#usedBytes();
    if (used + bytes > memoryBytes) {
      throw new VdbError(
        "memory_limit",
        `${what} needs ${bytes} bytes, ${used} of this node's ${memoryBytes} are in use: add query nodes or raise query.memoryBytes`,
      );
    }
    this.#comingBytes += bytes;
    return {
      [Symbol.dispose]: () => {
        this.#comingBytes -= bytes;
      },
    };
  }

  async #exclusively(segmentId: string, change: () => Promise<void>): Promise<void> {
    const before = this.#changes.get(segmentId) ?? Promise.resolve();
    const mine = before.catch(() => undefined).then(change);
    this.#changes.set(segmentId, mine);
    try {
      await mine;
    } finally {
      if (this.#changes.get(segmentId) === mine) this.#changes.delete(segmentId);
    }
  }
}

/** Of a segment, or a part of it, that was replaced while it was being loaded: what asked for it looks again. */
function goneError(segmentId: string): VdbError {
  return new VdbError("segment_not_loaded", `segment ${segmentId} was replaced while it was loaded`);
}
