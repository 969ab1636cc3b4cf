/**
 * Flushing a shard: its sealed segments and pending deletes become objects, then one compare-and-set of the manifest
 * makes them the truth. A crash between the two leaves objects that nothing names; the coordinator collects them.
 *
 * The commit is guarded by the channel's key: once the coordinator has named another owner, this one cannot change the
 * manifest any more. The object names carry the owner's term, so that what a replaced owner left behind can be told.
 */
import type { ActorContext } from "../../runtime/actor.ts";
import type { ObjectRef } from "../../runtime/blob/port.ts";
import { VdbError } from "../../runtime/errors.ts";
import { guardDoc, putDoc } from "../../runtime/meta/catalog.ts";
import { type CollectionDoc, type ManifestDoc, metaKeys, type SegmentDoc } from "../../runtime/protocol/catalog.ts";
import { primaryField } from "../../runtime/schema.ts";
import { type FileField, writeSegmentFile } from "../../runtime/segment/arrow-file.ts";
import type { ColumnBatch } from "../../runtime/segment/column.ts";
import { columnRows, gatherColumn } from "../../runtime/segment/gather.ts";
import type { GrowingSegment, PendingDeletes, Shard } from "./shard.ts";

/** Changes of one manifest meet rarely (index swaps); many conflicts in a row mean that something is wrong. */
const COMMIT_ATTEMPTS = 20;

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
  // What an attempt whose outcome was unknown did bring into the manifest is not written again.
  const entered = new Set(manifestNow.segments.map(({ segmentId }) => segmentId));
  const toStore = sealed.filter(({ segment }) => !entered.has(segment.segmentId));
  const deletes = shard.pendingDeletes.filter(({ seq }) => seq <= point.appliedSeq && seq > manifestNow.deltaSeq);
  if (sealed.length === 0 && shard.pendingDeletes.length === 0) return [];
  // Decided now, before rows arrive that are not part of this flush.
  const isWhole = !shard.hasGrowing;
  const requests = shard.requests.toBytes();

  const folder = `${shard.vchannel}/${point.term}`;
  const segments = await Promise.all(toStore.map((growing) => storeSegment(ctx, collection, folder, growing)));
  const delta = deletes.length === 0 ? undefined : await storeDeletes(ctx, collection, folder, deletes);
  // Named by its place in the log, by which the collector tells which of two is the older.
  const place = String(point.appliedSeq).padStart(16, "0");
  const requestsRef = await ctx.blobs.put(`requests/${folder}/${place}-${ctx.random.ulid()}.msgpack`, [requests]);

  await commitManifest(ctx, shard.vchannel, point, (manifest) => {
    const flushed = { ...manifest.flushed };
    for (const growing of sealed) flushed[String(growing.segment.partitionId)] = growing.toSeq;
    return {
      ...manifest,
      segments: [...manifest.segments, ...segments.filter((segment) => !isIn(manifest, segment.segmentId))],
      flushed: isWhole ? {} : flushed,
      flushedSeq: isWhole ? Math.max(manifest.flushedSeq, point.appliedSeq) : manifest.flushedSeq,
      deltaSeq: Math.max(manifest.deltaSeq, point.appliedSeq),
      deltas:
        delta === undefined
          ? manifest.deltas
          : [...manifest.deltas, { ...delta, throughSeq: point.appliedSeq, throughTs: deletes.at(-1)!.ts }],
      requests: requestsRef,
    };
  });
  shard.flushed(sealed, point.appliedSeq, ctx.catalog.collection(shard.collectionId)?.loaded !== undefined);
  return segments.map(({ segmentId }) => segmentId);
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
    if (manifest === undefined) throw new VdbError("collection_not_found", `shard ${vchannel} has been dropped`);
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

function isIn(manifest: ManifestDoc, segmentId: string): boolean {
  return manifest.segments.some((segment) => segment.segmentId === segmentId);
}

async function storeSegment(
  ctx: ActorContext,
  collection: CollectionDoc,
  folder: string,
  { segment }: GrowingSegment,
): Promise<SegmentDoc> {
  const { segmentId, partitionId, rowCount, minTs, maxTs } = segment;
  const object = await ctx.blobs.put(
    `segment/${folder}/${segmentId}.arrow`,
    writeSegmentFile(collection.schema.fields, segment.chunks, ctx.clock),
  );
  return { segmentId, partitionId, rowCount, minTs, maxTs, object, indexes: {}, deletesSeq: 0 };
}

/** One Arrow file of keys and timestamps, in the order of the log. */
async function storeDeletes(
  ctx: ActorContext,
  collection: CollectionDoc,
  folder: string,
  deletes: readonly PendingDeletes[],
): Promise<{ object: ObjectRef; rowCount: number }> {
  const field: FileField = primaryField(collection.schema);
  const counts = deletes.map(({ keys }) => columnRows(keys));
  const rowCount = counts.reduce((sum, count) => sum + count, 0);
  const pick = { sources: new Uint32Array(rowCount), rows: new Uint32Array(rowCount) };
  const timestamps = new BigInt64Array(rowCount);
  let at = 0;
  counts.forEach((count, source) => {
    for (let row = 0; row < count; row++, at++) {
      pick.sources[at] = source;
      pick.rows[at] = row;
      timestamps[at] = deletes[source]!.ts;
    }
  });
  const keys = gatherColumn(
    deletes.map((entry) => entry.keys),
    deletes[0]!.keys,
    pick,
  );
  const batch: ColumnBatch = { rowCount, columns: { [field.fieldId]: keys } };
  const object = await ctx.blobs.put(
    `delta/${folder}/${ctx.random.ulid()}.arrow`,
    writeSegmentFile([field], [{ batch, timestamps }], ctx.clock),
  );
  return { object, rowCount };
}
