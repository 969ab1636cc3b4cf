/**
 * Flushing a shard: its sealed segments and pending deletes become objects, then one compare-and-set of the manifest
 * makes them the truth. A crash between the two leaves objects that nothing names; the coordinator collects them.
 *
 * A segment goes with its own deletes: those of its rows that are known when it is flushed. What deletes rows of segments
 * that are in objects already becomes a delta of the shard, which data nodes distribute later.
 *
 * The commit is guarded by the channel's key: once the coordinator has named another owner, this one cannot change the
 * manifest any more. The object names carry the owner's term, so that what a replaced owner left behind can be told.
 */
import type { ActorContext } from "../../runtime/actor.ts";
import type { ObjectRef } from "../../runtime/blob/port.ts";
import { VdbError } from "../../runtime/errors.ts";
import { guardDoc, putDoc, shardGone } from "../../runtime/meta/catalog.ts";
import { allSegments, flushedSeqOf, withoutCoveredDeltas } from "../../runtime/meta/manifest.ts";
import { livePartitions } from "../../runtime/partitions.ts";
import { type CollectionDoc, type ManifestDoc, metaKeys, type SegmentDoc } from "../../runtime/protocol/catalog.ts";
import { boundsOf } from "../../runtime/scalar-index/segment-bounds.ts";
import { primaryField } from "../../runtime/schema.ts";
import { writeSegmentFile } from "../../runtime/segment/arrow-file.ts";
import { defaultsOf } from "../../runtime/segment/default-columns.ts";
import { DeleteBuffer } from "../../runtime/segment/delete-buffer.ts";
import { writeDeletedKeys, writeDeletedRows } from "../../runtime/segment/delete-files.ts";
import { columnRows } from "../../runtime/segment/gather.ts";
import { vectorFieldsOf } from "../../runtime/segment/present-rows.ts";
import type { DeletedRows, Segment } from "../../runtime/segment/segment.ts";
import { Slots } from "../../runtime/slots.ts";
import { dropHandedOver } from "./hand-over.ts";
import type { GrowingSegment, PendingDeletes, Shard } from "./shard.ts";

/** Changes of one manifest meet rarely (index swaps); many conflicts in a row mean that something is wrong. */
const COMMIT_ATTEMPTS = 20;

/** A collection of many partitions has as many segments to store: their buffers must not stand in memory all at once. */
const STORED_TOGETHER = 8;

export interface FlushPoint {
  /** Everything up to it is applied: deletes up to here go to objects, and rows of partitions that have none left. */
  appliedSeq: number;
  term: number;
  pchannel: number;
}

/** Flushes what is sealed and the deletes so far. Returns the ids of the segments that became objects. @throws VdbError channel_fenced, unavailable */
export async function flushShard(ctx: ActorContext, shard: Shard, point: FlushPoint): Promise<string[]> {
  const collection = ctx.catalog.collection(shard.collectionId);
  const manifestNow = ctx.catalog.manifest(shard.vchannel);
  if (collection === undefined || manifestNow === undefined) return [];
  const sealed = [...shard.sealed];
  // What an attempt whose outcome was unknown did enter is not written again, also when it has been compacted since.
  const toStore = sealed.filter((growing) => !isEntered(manifestNow, growing) && isKept(ctx, shard, growing));
  // An entry without keys only tells that its request is done: the request window below has it.
  const deletes = shard.pendingDeletes.filter(
    ({ seq, keys }) => seq <= point.appliedSeq && seq > manifestNow.deltaSeq && columnRows(keys) > 0,
  );
  if (sealed.length === 0 && shard.pendingDeletes.length === 0) return [];
  // Decided now, before rows arrive that are not part of this flush.
  const isWhole = !shard.hasGrowing;
  const requests = shard.requests.toBytes();

  // Named by their place in the log, by which the collector tells what a later flush has left behind.
  const name = (kind: string, id: string) =>
    `${kind}/${shard.vchannel}/${point.term}/${String(point.appliedSeq).padStart(16, "0")}-${id}`;
  const slots = new Slots(STORED_TOGETHER);
  // Rows from before a field was added are stored with its default: of a chunk that has such and others the bounds are of all.
  for (const { segment } of toStore) segment.complete(defaultsOf(collection.schema));
  const segments = await Promise.all(
    toStore.map(({ segment }) => {
      // As of this instant, like deletesSeq: what is deleted later is pending for the next flush.
      const deleted = segment.deletedRows();
      return slots.run(() => storeSegment(ctx, collection, name, { segment, deleted, deletesSeq: point.appliedSeq }));
    }),
  );
  // Segments that are new with this flush have the deletes already: nobody else is there to need them.
  const isDeltaNeeded = deletes.length > 0 && allSegments(manifestNow).length > 0;
  const delta = isDeltaNeeded ? await storeDeletes(ctx, collection, name, deletes) : undefined;
  const requestsRef = await ctx.blobs.put(name("requests", `${ctx.random.ulid()}.msgpack`), [requests]);

  await commitManifest(ctx, shard.vchannel, point, (manifest) => {
    // An attempt whose outcome was unknown has come through meanwhile: the next one sees its segments.
    if (delta === undefined && deletes.length > 0 && allSegments(manifest).length > 0)
      throw new VdbError("unavailable", `manifest of ${shard.vchannel} has changed: flush again`);
    const flushed = { ...manifest.flushed };
    for (const growing of sealed) {
      const { segment, toSeq } = growing;
      // A partition that was dropped meanwhile stays dropped: its dropping has changed the manifest, so this is seen here.
      if (!isKept(ctx, shard, growing)) continue;
      flushed[String(segment.partitionId)] = Math.max(toSeq, flushedSeqOf(manifest, segment.partitionId));
    }
    const added = segments.filter((_, i) => !isEntered(manifest, toStore[i]!) && isKept(ctx, shard, toStore[i]!));
    return withoutCoveredDeltas({
      ...manifest,
      segments: [...manifest.segments, ...added],
      flushed: isWhole ? {} : flushed,
      flushedSeq: isWhole ? Math.max(manifest.flushedSeq, point.appliedSeq) : manifest.flushedSeq,
      deltaSeq: Math.max(manifest.deltaSeq, point.appliedSeq),
      deltas:
        delta === undefined
          ? manifest.deltas
          : [...manifest.deltas, { ...delta, throughSeq: point.appliedSeq, throughTs: deletes.at(-1)!.ts }],
      requests: requestsRef,
    });
  });
  shard.flushed(sealed, point.appliedSeq, ctx.catalog.collection(shard.collectionId)?.loaded !== undefined);
  // The view may have taken them over, or compaction replaced them, before this came back.
  dropHandedOver(ctx.catalog, shard);
  return segments.map(({ segmentId }) => segmentId);
}

/** Enters that everything up to ts is in objects and that the channel, whoever owns it, is written above ts from now on. */
export function enterSettled(ctx: ActorContext, vchannel: string, point: FlushPoint, ts: bigint): Promise<void> {
  return commitManifest(ctx, vchannel, point, (manifest) => {
    const { settledTs = 0n } = manifest;
    return { ...manifest, settledTs: ts > settledTs ? ts : settledTs };
  });
}

/** Changes a manifest in one compare-and-set, as the channel's owner. Resolves when this node's cache has the change. */
async function commitManifest(
  ctx: ActorContext,
  vchannel: string,
  { pchannel, term }: FlushPoint,
  change: (manifest: ManifestDoc) => ManifestDoc,
): Promise<void> {
  const { cache } = ctx.catalog;
  const key = metaKeys.manifest(vchannel);
  for (let attempt = 0; attempt < COMMIT_ATTEMPTS; attempt++) {
    const manifest = ctx.catalog.manifest(vchannel);
    if (manifest === undefined) throw shardGone(ctx.catalog, vchannel);
    // The term too: a later life of the channel on this very node has replayed the same rows.
    const owner = ctx.catalog.channelOwner(pchannel);
    if (owner?.nodeId !== ctx.nodeId || owner.term !== term) {
      throw new VdbError("channel_fenced", `channel ${pchannel} is not ours any more (term ${term})`);
    }
    const revision = await ctx.meta.commit([
      putDoc(cache, key, change(manifest)),
      guardDoc(cache, metaKeys.channel(pchannel)),
    ]);
    const deadline = ctx.clock.monotonic() + 10_000;
    if (revision !== null) return cache.waitFor(revision, deadline);
    await cache.sync(deadline);
  }
  throw new VdbError("unavailable", `manifest of ${vchannel} kept changing: ${COMMIT_ATTEMPTS} attempts failed`);
}

/** A partition's segments are runs of its log, one after the other: how far it is flushed says which have been entered. */
function isEntered(manifest: ManifestDoc, { segment, toSeq }: GrowingSegment): boolean {
  return toSeq <= flushedSeqOf(manifest, segment.partitionId);
}

/** Whether its partition is still there. */
function isKept({ catalog }: ActorContext, { collectionId }: Shard, { segment }: GrowingSegment): boolean {
  const collection = catalog.collection(collectionId);
  return collection !== undefined && livePartitions(collection).has(segment.partitionId);
}

async function storeSegment(
  ctx: ActorContext,
  collection: CollectionDoc,
  name: (kind: string, id: string) => string,
  { segment, deleted, deletesSeq }: { segment: Segment; deleted: DeletedRows; deletesSeq: number },
): Promise<SegmentDoc> {
  const { segmentId, partitionId, rowCount, minTs, maxTs, chunks } = segment;
  // An attempt that failed may have stored it, and a field may have come since: then this is another object.
  const file = `${segmentId}-${collection.schema.version}.arrow`;
  const vectorFields = vectorFieldsOf(collection.schema.fields, chunks);
  const object = await ctx.blobs.put(
    name("segment", file),
    writeSegmentFile(collection.schema.fields, chunks, ctx.clock, vectorFields),
  );
  const bounds = await boundsOf(collection.schema.fields, chunks, ctx.clock);
  const rows = { rowCount, minTs, maxTs, object, deletesSeq, bounds, vectorFields };
  const doc: SegmentDoc = { segmentId, partitionId, ...rows, indexes: {} };
  if (deleted.rows.length === 0) return doc;
  const deletes = await ctx.blobs.put(name("deletes", file), writeDeletedRows(deleted, ctx.clock));
  return { ...doc, deletes: { object: deletes, rowCount: deleted.rows.length } };
}

/** One Arrow file of keys and timestamps, in the order of the log. */
async function storeDeletes(
  ctx: ActorContext,
  collection: CollectionDoc,
  name: (kind: string, id: string) => string,
  deletes: readonly PendingDeletes[],
): Promise<{ object: ObjectRef; rowCount: number }> {
  const buffer = new DeleteBuffer();
  for (const { keys, ts, seq } of deletes) {
    buffer.add({ keys, timestamps: new BigInt64Array(columnRows(keys)).fill(ts) }, seq);
  }
  const object = await ctx.blobs.put(
    name("delta", `${ctx.random.ulid()}.arrow`),
    writeDeletedKeys(primaryField(collection.schema), buffer.parts(), ctx.clock),
  );
  return { object, rowCount: buffer.rowCount };
}
