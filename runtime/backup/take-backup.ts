/**
 * A backup: the state of collections at one timestamp, copied while writes go on.
 *
 * Steps    1 a pin, so that nothing that is named from here on is removed
 *          2 a timestamp T of the coordinator
 *          3 of each shard, a flush through T. It waits for the writes up to T that are under way, lets no later write have
 *            such a timestamp, whoever owns the channel (`settledTs`), and brings all of them to objects: so the manifest
 *            after it has every write with ts <= T. Then all manifests of a collection at once: an import comes into them
 *            by one commit, and is in all of them or in none.
 *          4 the objects, then the description
 * What the manifest has beyond T does no harm: a restore leaves it out by the one rule of visibility. Except where a
 * compaction has left out rows that were there at T (`purgedTs` > T): then all begins again with a new T, as it does when
 * the pin is lost. Objects are immutable and checked by digest: those that were copied are not copied again.
 */
import { mkdir } from "node:fs/promises";
import { asVdbError, VdbError } from "../errors.ts";
import { livePartitions } from "../partitions.ts";
import { takePin } from "../pins.ts";
import type { CollectionDoc, ManifestDoc, ShardRef } from "../protocol/catalog.ts";
import { flushShard } from "../protocol/streaming.ts";
import { msOfTimestamp } from "../timestamps.ts";
import { VERSION } from "../version.ts";
import { askOwner, type Cluster, newTimestamp, syncCatalog } from "./cluster.ts";
import {
  type Backup,
  type BackupCollection,
  type BackupShard,
  formatBackup,
  newBackup,
  shardObjects,
} from "./format.ts";
import { inParallel } from "./in-parallel.ts";
import { fetchObject, isFinished, removeOthers, writeDescription } from "./local-files.ts";

export interface BackupOptions {
  folder: string;
  /** Which ones; absent: all. */
  collections?: readonly { database: string; name: string }[];
  /** For people: who keeps garbage from being collected meanwhile. */
  holder: string;
  onProgress?: (bytes: number, totalBytes: number) => void;
  /** Told why an attempt failed and is made again. */
  onRepeat?: (reason: string) => void;
}

export interface BackupSummary {
  timestamp: bigint;
  collections: number;
  /** In the segments, deleted ones included. */
  rows: number;
  objects: number;
  bytes: number;
  /** Of which were copied now: the others were there from an attempt before. */
  copiedBytes: number;
}

const ATTEMPTS_MAX = 10;
const REPEAT_AFTER_MS = 1_000;
const COLLECTIONS_AT_ONCE = 8;
const COPIES_AT_ONCE = 4;

/** A flush of a full growing segment, on a machine that does other work too. */
const FLUSH_TIMEOUT_MS = 300_000;

/** What went wrong with an attempt but need not with the next. */
class Overtaken extends Error {}

/**
 * @throws VdbError unexpected (a finished backup is in the folder), collection_not_found, unavailable, corrupt (an object
 *   of the cluster is damaged), memory_limit (the disk is full)
 */
export async function takeBackup(cluster: Cluster, options: BackupOptions): Promise<BackupSummary> {
  const { folder } = options;
  if (await isFinished(folder)) {
    throw new VdbError("unexpected", `${folder} holds a finished backup: give a folder of its own to each`);
  }
  await mkdir(folder, { recursive: true });
  for (let attempt = 1; ; attempt++) {
    try {
      return await attemptBackup(cluster, options);
    } catch (error) {
      if (!(error instanceof Overtaken)) throw error;
      if (attempt === ATTEMPTS_MAX) {
        throw new VdbError("unavailable", `given up after ${attempt} attempts: ${error.message}`, { cause: error });
      }
      options.onRepeat?.(error.message);
      await cluster.clock.sleep(REPEAT_AFTER_MS);
    }
  }
}

async function attemptBackup(cluster: Cluster, options: BackupOptions): Promise<BackupSummary> {
  const { folder, holder } = options;
  await using pin = await takePin(cluster, holder);
  const timestamp = await newTimestamp(cluster);
  await syncCatalog(cluster);
  const chosen = chooseCollections(cluster, options.collections, timestamp);
  const collections = await captureCollections(cluster, chosen, timestamp);
  const objects = collections.flatMap(({ shards }) => shards.flatMap(shardObjects));
  const totalBytes = objects.reduce((sum, { bytes }) => sum + bytes, 0);

  let doneBytes = 0;
  let copiedBytes = 0;
  options.onProgress?.(0, totalBytes);
  try {
    await inParallel(objects, COPIES_AT_ONCE, pin.lost, async (object, signal) => {
      const isCopied = await fetchObject(cluster.blobs, folder, object, signal);
      doneBytes += object.bytes;
      if (isCopied) copiedBytes += object.bytes;
      options.onProgress?.(doneBytes, totalBytes);
    });
  } catch (error) {
    // With the pin an object that cannot be read is damaged. Without it, it may have been removed as garbage.
    if (pin.lost.aborted) throw new Overtaken(`the hold on the objects was lost (${asVdbError(error).message})`);
    throw error;
  }
  const backup = newBackup({
    writtenBy: VERSION,
    clusterId: cluster.catalog.cluster()!.clusterId,
    timestamp,
    time: new Date(msOfTimestamp(timestamp)).toISOString(),
    collections,
  });
  await writeDescription(folder, formatBackup(backup), objects);
  // Last: the files of another run in the same folder are its own until one of the two is done.
  await removeOthers(folder, objects);
  return {
    timestamp,
    collections: collections.length,
    rows: rowsOf(backup),
    objects: objects.length,
    bytes: totalBytes,
    copiedBytes,
  };
}

/** @throws VdbError collection_not_found */
function chooseCollections(
  { catalog }: Cluster,
  names: BackupOptions["collections"],
  timestamp: bigint,
): CollectionDoc[] {
  // One that was made after T had no row at T.
  if (names === undefined) return catalog.collections().filter(({ createdAt }) => createdAt <= timestamp);
  const chosen = names.map(({ database, name }) => {
    const collection = catalog.collectionByName(database, name);
    if (collection !== undefined) return collection;
    throw new VdbError("collection_not_found", `there is no collection ${name} in database ${database}`);
  });
  // One that is named twice would have to be restored under two names.
  return [...new Set(chosen)];
}

/** Every chosen collection as it was at the timestamp, as far as objects tell. */
async function captureCollections(
  cluster: Cluster,
  chosen: readonly CollectionDoc[],
  timestamp: bigint,
): Promise<BackupCollection[]> {
  const manifests = new Map<string, ManifestDoc>();
  await inParallel(chosen, COLLECTIONS_AT_ONCE, new AbortController().signal, async (collection, signal) => {
    const { shards } = collection;
    await inParallel(shards, shards.length, signal, (shard) => flush(cluster, collection, shard, timestamp));
    await syncCatalog(cluster);
    for (const shard of shards) manifests.set(shard.vchannel, manifestAt(cluster, collection, shard, timestamp));
  });
  return chosen.map((before) => {
    // What rows may have, and where they may be, as it is now: flushing may have brought some that came meanwhile.
    const { schema, partitions } = cluster.catalog.collection(before.collectionId) ?? before;
    return describeCollection({ ...before, schema, partitions }, manifests, timestamp);
  });
}

function describeCollection(
  collection: CollectionDoc,
  manifests: ReadonlyMap<string, ManifestDoc>,
  timestamp: bigint,
): BackupCollection {
  return {
    collectionId: collection.collectionId,
    database: collection.database,
    name: collection.name,
    ...(collection.aliases === undefined ? {} : { aliases: collection.aliases }),
    description: collection.description,
    schema: collection.schema,
    partitions: collection.partitions,
    indexes: collection.indexes.map(({ indexId: _, ...index }) => index),
    // Not on which resource groups: another cluster has its own.
    loaded: collection.loaded && { replicaNumber: collection.loaded.replicaNumber },
    consistencyLevel: collection.consistencyLevel,
    properties: collection.properties,
    shards: collection.shards.map(({ vchannel }) => {
      const manifest = manifests.get(vchannel)!;
      // A partition that was dropped meanwhile is dropped in all shards, whenever each was looked at.
      const segments = manifest.segments.filter(({ partitionId }) => livePartitions(collection).has(partitionId));
      return describeShard({ ...manifest, segments }, timestamp);
    }),
  };
}

async function flush(
  cluster: Cluster,
  { collectionId }: CollectionDoc,
  shard: ShardRef,
  timestamp: bigint,
): Promise<void> {
  const { vchannel } = shard;
  const request = { collectionId, vchannel, throughTs: timestamp };
  try {
    await askOwner(cluster, flushShard, shard, request, FLUSH_TIMEOUT_MS);
  } catch (error) {
    await syncCatalog(cluster);
    if (cluster.catalog.manifest(vchannel) !== undefined) throw error;
  }
}

/** @throws Overtaken when it does not tell what was there at the timestamp */
function manifestAt(cluster: Cluster, collection: CollectionDoc, shard: ShardRef, timestamp: bigint): ManifestDoc {
  const manifest = cluster.catalog.manifest(shard.vchannel);
  if (manifest === undefined) throw new Overtaken(`collection ${collection.name} was dropped or truncated meanwhile`);
  if ((manifest.settledTs ?? 0n) < timestamp) {
    throw new VdbError("unimplemented", `the owner of channel ${shard.pchannel} knows no snapshots: upgrade that node`);
  }
  if ((manifest.purgedTs ?? 0n) > timestamp) {
    throw new Overtaken(`a compaction of ${collection.name} left out rows that were deleted meanwhile`);
  }
  return manifest;
}

function describeShard({ vchannel, segments, deltas }: ManifestDoc, timestamp: bigint): BackupShard {
  return {
    vchannel,
    segments: segments
      .filter(({ minTs }) => minTs <= timestamp)
      .map(({ segmentId, partitionId, rowCount, minTs, maxTs, rowTs, object, deletes }) => ({
        segmentId,
        partitionId,
        rowCount,
        minTs,
        ...(rowTs === undefined ? {} : { rowTs }),
        maxTs,
        object,
        ...(deletes === undefined ? {} : { deletes }),
      })),
    deltas: deltas.map(({ object, rowCount }) => ({ object, rowCount })),
  };
}

export function rowsOf({ collections }: Pick<Backup, "collections">): number {
  let rows = 0;
  for (const { shards } of collections) {
    for (const { segments } of shards) for (const { rowCount } of segments) rows += rowCount;
  }
  return rows;
}
