/**
 * The sealed segments that this node serves: files pinned in the disk cache; keys and scalar columns in memory; vectors and
 * indexes in memory as far as that goes (memory-budget.ts), else read from the files, mapped.
 * Memory is bounded: a load beyond the bound is refused with a clear error, never half done.
 */
import type { ActorContext } from "../../runtime/actor.ts";
import type { ExactScanner, IndexToLoad } from "../../runtime/ann/engine.ts";
import { isLoadedType, storedIndexSpec } from "../../runtime/ann/index-params.ts";
import type { DenseVectorType } from "../../runtime/ann/packed-vectors.ts";
import type { DiskCache, PinnedFile } from "../../runtime/blob/disk-cache.ts";
import type { ObjectRef } from "../../runtime/blob/port.ts";
import { isVdbError, VdbError } from "../../runtime/errors.ts";
import { findSegment, segmentObjects } from "../../runtime/meta/manifest.ts";
import type { CollectionDoc, ManifestDoc, SegmentDoc, SegmentIndexDoc } from "../../runtime/protocol/catalog.ts";
import { indexHints } from "../../runtime/scalar-index/definition.ts";
import { prepareSegment } from "../../runtime/scalar-index/prepare.ts";
import { allowIndexes, cacheOf, type FilterTally } from "../../runtime/scalar-index/segment-cache.ts";
import { bytesOfVector, primaryField } from "../../runtime/schema.ts";
import type { IndexedRows } from "../../runtime/search/segment-rows.ts";
import { defaultsOf } from "../../runtime/segment/default-columns.ts";
import { presentRows } from "../../runtime/segment/present-rows.ts";
import { type MappedSegment, readMappedSegment } from "../../runtime/segment/read-mapped-segment.ts";
import { applyDeletedRows, readSegment } from "../../runtime/segment/read-segment.ts";
import type { Segment } from "../../runtime/segment/segment.ts";
import { SparseSegment } from "../../runtime/sparse/sparse-segment.ts";
import type { DeleteFollowers } from "./follow-deletes.ts";
import { HeldFile } from "./held-file.ts";
import { type Engines, LoadedIndex } from "./loaded-index.ts";
import { LoadedVectors } from "./loaded-vectors.ts";
import { type Holder, MemoryBudget } from "./memory-budget.ts";
import { fieldPolicy, indexPolicy, type MmapPolicy } from "./mmap-policy.ts";
import type { FollowingSegment } from "./shard-deletes.ts";

const SYNC_TIMEOUT_MS = 10_000;

/** Bytes that a row takes beside its columns, at most: its place in the index of keys. */
const KEY_BYTES = 20;

/** A field of dense vectors. */
interface VectorField {
  readonly fieldId: number;
  readonly rowBytes: number;
  readonly policy: MmapPolicy;
}

export interface LoadedSegment {
  readonly segment: Segment;
  readonly vchannel: string;
  readonly pchannel: number;
  /** Of the columns that are in memory for good. */
  readonly bytes: number;
  /** The file that `vectors` are in, when there are any. */
  readonly mapped: HeldFile | undefined;
  readonly unpin: () => void;
  /** By field id of dense vectors: what was said of them when it was read. */
  readonly policies: ReadonlyMap<number, MmapPolicy>;
  /** By field id. */
  readonly indexes: Map<number, LoadedIndex>;
  /** By field id: dense vectors that can be mapped; the others are among the columns in memory. */
  readonly vectors: Map<number, LoadedVectors>;
  /** Its sparse vectors, indexed. */
  readonly sparse: SparseSegment;
  /** The number of the last read that asked for it. */
  readAt: number;
}

export class LoadedSegments {
  readonly filterTally: FilterTally = { chunksRead: 0, chunksSkipped: 0 };
  readonly #ctx: ActorContext;
  readonly #engines: Engines;
  readonly #cache: DiskCache;
  readonly #deletes: DeleteFollowers;
  readonly #loaded = new Map<string, LoadedSegment>();
  readonly #budget: MemoryBudget;
  /** One change of a segment at a time. */
  readonly #changes = new Map<string, Promise<void>>();
  /** Vectors are copied for one segment at a time: the last one asked for. */
  #placing: Promise<void> = Promise.resolve();
  #reads = 0;
  #openings = 0;

  constructor(ctx: ActorContext, parts: { engines: Engines; cache: DiskCache; deletes: DeleteFollowers }) {
    this.#ctx = ctx;
    this.#engines = parts.engines;
    this.#cache = parts.cache;
    this.#deletes = parts.deletes;
    const { logger, config, clock } = ctx;
    const holders = () => [...this.#loaded.values()].map(holderOf);
    this.#budget = new MemoryBudget({ limitBytes: config.query.memoryBytes, holders, logger, clock });
  }

  /** For a read. @throws VdbError segment_not_loaded */
  get(segmentId: string): LoadedSegment {
    const loaded = this.#loaded.get(segmentId);
    if (loaded === undefined) throw notLoadedError(segmentId);
    loaded.readAt = ++this.#reads;
    return loaded;
  }

  /** What was let go of while a read waited for deletes has not been given them. @throws VdbError segment_not_loaded */
  requireStill(loaded: readonly LoadedSegment[]): void {
    for (const one of loaded) {
      const { segmentId } = one.segment;
      if (this.#loaded.get(segmentId) !== one) throw notLoadedError(segmentId);
    }
  }

  find(segmentId: string): LoadedSegment | undefined {
    return this.#loaded.get(segmentId);
  }

  get size(): number {
    return this.#loaded.size;
  }

  /** Bytes of what is in memory: bounded by `query.memoryBytes`. */
  memoryBytes(): number {
    return this.#budget.memoryBytes();
  }

  /** Bytes of the vectors and indexes that are read from files in the disk cache. */
  mappedBytes(): number {
    return this.#budget.mappedBytes();
  }

  /** Bytes of what makes filters faster: scalar indexes, value filters, and tokens of texts. */
  filterCacheBytes(): number {
    return this.#budget.cacheBytes();
  }

  /** Copies to memory what is mapped for want of room, as far as there is some now. */
  copySurplus(): Promise<void> {
    return this.#budget.copySurplus();
  }

  /** Brings a segment to what its document says. Idempotent. @throws VdbError memory_limit, corrupt, unavailable */
  load(collection: CollectionDoc, manifest: ManifestDoc, doc: SegmentDoc): Promise<void> {
    return this.#exclusively(doc.segmentId, async () => {
      const fields = this.#vectorFields(collection);
      let loaded = this.#loaded.get(doc.segmentId);
      if (loaded !== undefined && isReadOtherwise(loaded, fields)) {
        await this.#remove(loaded);
        loaded = undefined;
      }
      if (loaded === undefined) {
        const bytes = bytesToCopy(doc, mappableOf(fields)) + KEY_BYTES * doc.rowCount;
        // Given back in the same instant in which the segment counts itself: other loads must see it counted exactly
        // once.
        const rooms: Disposable[] = [];
        try {
          rooms.push(await this.#budget.takeRoom(bytes, `segment ${doc.segmentId}`));
          loaded = await this.#loadRows(collection, manifest, doc, fields, rooms);
          this.#loaded.set(doc.segmentId, loaded);
        } finally {
          for (const room of rooms) room[Symbol.dispose]();
        }
        await this.#indexScalars(collection, loaded.segment);
      }
      closeDropped(loaded, collection);
      for (const [fieldId, index] of Object.entries(doc.indexes)) {
        await this.#loadIndex(collection, loaded, doc, Number(fieldId), index);
      }
      // Reads find them in the file meanwhile: nobody who waits for the segment waits for a copy.
      if (loaded.vectors.size > 0) this.#ctx.scope.spawn("place vectors", () => this.#placeInTurn(doc.segmentId));
    });
  }

  /** @param isWanted asked when its turn has come: whether it is to stay */
  release(segmentId: string, isWanted = (_vchannel: string, _segmentId: string) => false): Promise<void> {
    return this.#exclusively(segmentId, async () => {
      const loaded = this.#loaded.get(segmentId);
      if (loaded !== undefined && !isWanted(loaded.vchannel, segmentId)) await this.#remove(loaded);
    });
  }

  async #remove(loaded: LoadedSegment): Promise<void> {
    this.#forget(loaded.segment.segmentId, loaded.segment);
    await this.#deletes.remove(loaded, loaded.segment);
  }

  /** What is loaded and fails the test, by id. */
  idsExcept(isWanted: (vchannel: string, segmentId: string) => boolean): string[] {
    return [...this.#loaded].flatMap(([segmentId, { vchannel }]) => (isWanted(vchannel, segmentId) ? [] : [segmentId]));
  }

  /** Fields of dense vectors; without an engine that reads them in the segments' files none is to be mapped. */
  #vectorFields(collection: CollectionDoc): VectorField[] {
    const canMap = this.#engines.mappedEngine !== undefined;
    const setting = this.#ctx.config.query.mmap;
    return collection.schema.fields.flatMap((field): VectorField[] => {
      const { fieldId, type, dimension = 0 } = field;
      if (!isDenseVector(type)) return [];
      const rowBytes = type === "FloatVector" ? 4 * dimension : bytesOfVector(type, dimension);
      return [{ fieldId, rowBytes, policy: canMap ? fieldPolicy(setting, collection, field) : "never" }];
    });
  }

  async #readRows(
    { schema }: CollectionDoc,
    doc: SegmentDoc,
    { file, mapped }: { file: PinnedFile; mapped: HeldFile | undefined },
    mappable: readonly VectorField[],
  ): Promise<MappedSegment> {
    const { clock } = this.#ctx;
    const key = primaryField(schema);
    if (mapped === undefined) {
      const bytes = await file.read();
      const segment = await readSegment(doc, key, bytes, clock);
      return { segment, bytes: bytes.length, vectors: new Map() };
    }
    const fieldIds = mappable.map(({ fieldId }) => fieldId);
    return readMappedSegment(doc, key, fieldIds, { path: file.path, mapped: mapped.bytes }, clock);
  }

  async #loadRows(
    collection: CollectionDoc,
    manifest: ManifestDoc,
    doc: SegmentDoc,
    fields: readonly VectorField[],
    rooms: Disposable[],
  ): Promise<LoadedSegment> {
    const { vchannel, pchannel, collectionId } = manifest;
    const mappable = mappableOf(fields);
    const file = await this.#acquire(vchannel, doc, doc.object);
    let mapped: HeldFile | undefined;
    try {
      if (mappable.length > 0) mapped = new HeldFile(this.#engines.mappedEngine!.mapFile(file.path));
      const { segment, bytes, vectors: inFile } = await this.#readRows(collection, doc, { file, mapped }, mappable);
      // More than expected where the file lacks vectors: those of fields added later, or that none of its rows has.
      const more = bytes - bytesToCopy(doc, mappable);
      if (more > 0) rooms.push(await this.#budget.takeRoom(more, `segment ${doc.segmentId}`));
      const indexes = new Map<number, LoadedIndex>();
      const vectors = new Map<number, LoadedVectors>();
      for (const { fieldId, policy } of mappable) {
        const parts = inFile.get(fieldId);
        if (parts === undefined) continue;
        const { path } = file;
        const facts = { segment, fieldId, path, mapped: mapped!.bytes, parts, policy };
        vectors.set(fieldId, new LoadedVectors({ ...facts, hasIndex: () => indexes.has(fieldId) }));
      }
      segment.complete(defaultsOf(collection.schema));
      const sparse = await this.#indexSparse(collection, segment, rooms);
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
      const policies = new Map(fields.map(({ fieldId, policy }) => [fieldId, policy]));
      const parts = { segment, bytes, mapped, unpin, indexes, vectors, sparse };
      return { ...parts, vchannel, pchannel, policies, readAt: this.#reads };
    } catch (error) {
      mapped?.release();
      file[Symbol.dispose]();
      throw error;
    }
  }

  /** Filters can do without these: they are made as far as there is room, and dropped when something else needs it. */
  async #indexScalars({ indexes, schema }: CollectionDoc, segment: Segment): Promise<void> {
    allowIndexes(segment, (bytes) => this.#budget.hasRoom(bytes), this.filterTally);
    await prepareSegment(segment, indexHints(indexes, schema), this.#ctx.clock);
  }

  /** @param rooms gets those it has taken @throws VdbError memory_limit */
  async #indexSparse({ schema }: CollectionDoc, segment: Segment, rooms: Disposable[]): Promise<SparseSegment> {
    const sparse = new SparseSegment(segment);
    for (const { fieldId, type } of schema.fields) {
      if (type !== "SparseFloatVector") continue;
      const what = `sparse index of segment ${segment.segmentId}`;
      rooms.push(await this.#budget.takeRoom(sparse.bytesToIndex(fieldId), what));
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
    for (const index of loaded.indexes.values()) index.close();
    for (const vectors of loaded.vectors.values()) vectors.close();
    loaded.mapped?.release();
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
    const definition = collection.indexes.find(({ indexId }) => indexId === index.indexId);
    if (definition === undefined || !isLoadedType(index.type)) return;
    const canMap = this.#engines.mappedEngine !== undefined;
    const policy = canMap ? indexPolicy(this.#ctx.config.query.mmap, collection, definition) : "never";
    if (before?.indexId === index.indexId && before.policy === policy) return;
    const { fits, indexed } = indexedRows(loaded.segment, fieldId, index);
    if (!fits) return;
    const { bytes } = index.object;
    const what = `index of segment ${doc.segmentId}`;
    const room =
      policy === "always"
        ? undefined
        : policy === "surplus"
          ? this.#budget.tryRoom(bytes)
          : await this.#budget.takeRoom(bytes, what);
    try {
      const file = await this.#acquire(loaded.vchannel, doc, index.object);
      try {
        const { type, dimension = 0 } = collection.schema.fields.find((field) => field.fieldId === fieldId) ?? {};
        const spec = storedIndexSpec(index.type, index.params);
        const vectorType = (type ?? "FloatVector") as DenseVectorType;
        const rows = indexed?.present.count ?? doc.rowCount;
        const toLoad: IndexToLoad = { ...spec, metric: index.metric, vectorType, dimension, rows };
        const key = `${doc.segmentId}.${fieldId}.${index.indexId}.${this.#openings++}`;
        const facts = { indexId: index.indexId, key, toLoad, bytes, policy, indexed };
        const opened = await LoadedIndex.open(this.#engines, facts, file, room === undefined);
        if (opened.isMapped) await this.#makeRoomFor(opened, what);
        loaded.indexes.set(fieldId, opened);
      } catch (error) {
        file[Symbol.dispose]();
        if (!isVdbError(error, "index_unsupported")) throw error;
        // This node's engine does not search such an index: the rows are scanned.
        this.#ctx.logger.warn({ segmentId: doc.segmentId, fieldId, error: error.message }, "index not used");
        return;
      }
    } finally {
      room?.[Symbol.dispose]();
    }
    before?.close();
  }

  /** Some indexes have parts that are in memory even when their file is mapped. @throws VdbError memory_limit */
  async #makeRoomFor(opened: LoadedIndex, what: string): Promise<void> {
    try {
      using _room = await this.#budget.takeRoom(opened.memoryBytes, what);
    } catch (error) {
      opened.close();
      throw error;
    }
  }

  /** One segment at a time. */
  #placeInTurn(segmentId: string): Promise<void> {
    const mine = this.#placing.then(() =>
      this.#exclusively(segmentId, async () => {
        if (this.#ctx.signal.aborted) return;
        for (const vectors of this.#loaded.get(segmentId)?.vectors.values() ?? [])
          await this.#placeVectors(vectors, segmentId);
      }),
    );
    this.#placing = mine.catch(() => undefined);
    return mine;
  }

  /** Copies them to memory where exact searches will read them and there is room; maps them again once an index is there to be searched instead. */
  async #placeVectors(vectors: LoadedVectors, segmentId: string): Promise<void> {
    if (vectors.policy !== "surplus") return;
    if (!vectors.isSearched) return await this.#budget.move(vectors, true);
    if (!vectors.isMapped) return;
    using room = this.#budget.tryRoom(vectors.copyBytes);
    if (room === undefined) this.#ctx.logger.debug({ segmentId }, "vectors are mapped: there is no memory for them");
    else await this.#budget.move(vectors, false);
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

function notLoadedError(segmentId: string): VdbError {
  return new VdbError("segment_not_loaded", `segment ${segmentId} is not loaded on this node`);
}

/** For a segment, or a part of one, that was replaced while it was being loaded: the caller looks again. */
function goneError(segmentId: string): VdbError {
  return new VdbError("segment_not_loaded", `segment ${segmentId} was replaced while it was loaded`);
}

/**
 * The rows that an index has, where these are not all. An index whose row count does not fit is not searched: it is
 * empty, or was built by a data node that did not know of rows without a vector. @throws VdbError corrupt
 */
function indexedRows(
  segment: Segment,
  fieldId: number,
  { rows }: SegmentIndexDoc,
): { fits: boolean; indexed?: IndexedRows | undefined } {
  const present = presentRows(segment.chunks, fieldId);
  if (rows === 0 || (rows === undefined && present !== undefined)) return { fits: false };
  const held = present?.count ?? segment.rowCount;
  if (rows !== undefined && rows !== held) {
    throw new VdbError("corrupt", `segment ${segment.segmentId} has ${held} vectors, its index ${rows}`);
  }
  return { fits: true, indexed: present && { fieldId, present } };
}

/** Fields whose vectors stay in the segments' files. */
function mappableOf(fields: readonly VectorField[]): VectorField[] {
  return fields.filter(({ policy }) => policy !== "never");
}

/** Whether `mmap.enabled` was changed since: it decides what is copied of the file. Fields added later are not in it. */
function isReadOtherwise({ policies }: LoadedSegment, fields: readonly VectorField[]): boolean {
  return fields.some(({ fieldId, policy }) => (policies.get(fieldId) ?? policy) !== policy);
}

/**
 * An index is dropped only while the collection is released, but what is loaded outlives a short release. The rows are
 * scanned until there is another index: a search that still has this one is repeated.
 */
function closeDropped({ indexes }: LoadedSegment, collection: CollectionDoc): void {
  for (const [fieldId, loaded] of indexes) {
    if (collection.indexes.some(({ indexId }) => indexId === loaded.indexId)) continue;
    indexes.delete(fieldId);
    loaded.close();
  }
}

/** Bytes of a segment's file without the vectors that are to stay in it. */
function bytesToCopy({ object, rowCount }: SegmentDoc, mappable: readonly VectorField[]): number {
  return Math.max(0, object.bytes - mappable.reduce((sum, { rowBytes }) => sum + rowBytes * rowCount, 0));
}

/** A segment as the memory budget sees it. */
function holderOf(loaded: LoadedSegment): Holder {
  const { segment, sparse, bytes, readAt, indexes, vectors } = loaded;
  return {
    readAt,
    fixedBytes: () => bytes + segment.besidesBytes + sparse.memoryBytes,
    *movables() {
      yield* vectors.values();
      yield* indexes.values();
    },
    cacheBytes: () => cacheOf(segment).bytes,
    dropCache: () => void cacheOf(segment).clear(),
  };
}

/**
 * The scanner that may read the vectors of a field: for mapped ones only the engine whose threads may wait for the
 * disk.
 */
export function scannerOf(
  { engine, mappedEngine }: Engines,
  { vectors }: Pick<LoadedSegment, "vectors">,
  fieldId: number,
): { scanner: ExactScanner; isMapped: boolean } {
  const isMapped = vectors.get(fieldId)?.isMapped === true;
  return { scanner: isMapped ? mappedEngine! : engine, isMapped };
}

function isDenseVector(type: string): type is DenseVectorType {
  return type.endsWith("Vector") && type !== "SparseFloatVector";
}
