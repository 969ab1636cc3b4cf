/**
 * Restoring: collections of a backup as new collections, in this cluster or another.
 *
 * The rows that were there at the backup's timestamp T are written as new segments, under a pin, and entered by the
 * coordinator in one commit with name and schema: a collection is there whole or not at all, and what an interrupted
 * restore wrote is collected as garbage. Indexes are built as for any flushed segment.
 *
 * Time stands still between backup and restore: a row written at t gets t + (R - T), where R is the restore's own
 * timestamp. So the order of writes stays, every row is older than whatever is written or read from now on, and a row
 * with a time to live has as much of it left as it had at T.
 */

import { VdbError } from "../errors.ts";
import { type Pin, takePin } from "../pins.ts";
import { metaKeys, type SegmentDoc } from "../protocol/catalog.ts";
import { AUTO_ID_MAX, type RestoreCollection, restoreCollection, restoredFolder } from "../protocol/coordinator.ts";
import { type CollectionSchema, primaryField } from "../schema.ts";
import { writeSegmentFile } from "../segment/arrow-file.ts";
import { type DeletedKeys, readDeletedKeys } from "../segment/delete-files.ts";
import { type KeyColumn, keyAt } from "../segment/keys.ts";
import { vectorFieldsOf } from "../segment/present-rows.ts";
import { applyDeletedKeys, applyDeletedRows, readSegment } from "../segment/read-segment.ts";
import type { Segment } from "../segment/segment.ts";
import { takeTurn } from "../turns.ts";
import { askLeader, type Cluster, newIds, newTimestamp, syncCatalog } from "./cluster.ts";
import { type Backup, type BackupCollection, type BackupSegment, readBackup, shardObjects } from "./format.ts";
import { inParallel } from "./in-parallel.ts";
import { readObject, requireFiles } from "./local-files.ts";
import { movedChunks, visibleRows } from "./restore-rows.ts";
import { rowsOf } from "./take-backup.ts";

export interface CollectionName {
  database: string;
  name: string;
}

export interface RestoreOptions {
  folder: string;
  /** Which ones; absent: all. */
  collections?: readonly CollectionName[];
  /** Which ones get another name. */
  renames?: readonly { from: CollectionName; to: CollectionName }[];
  holder: string;
  /** Rows of the backup's segments, deleted ones included. */
  onProgress?: (rows: number, totalRows: number) => void;
  onRestored?: (name: CollectionName, rows: number) => void;
}

export interface RestoreSummary {
  /** Of the backup. */
  timestamp: bigint;
  collections: number;
  rows: number;
  bytes: number;
}

/** A segment is in memory twice while it is worked on: as it was, and as it is written. */
const SEGMENTS_AT_ONCE = 2;

/**
 * @throws VdbError invalid_parameter (no finished backup), corrupt, newer_version, collection_not_found (not in the
 *   backup), unexpected (a name is taken), unavailable. Collections that were restored before the failure stay.
 */
export async function restoreBackup(cluster: Cluster, options: RestoreOptions): Promise<RestoreSummary> {
  const { folder, holder, onProgress, onRestored } = options;
  const backup = await readBackup(folder);
  const chosen = withNames(chooseCollections(backup, options.collections), options.renames ?? []);
  await requireFiles(
    folder,
    chosen.flatMap(({ collection }) => collection.shards.flatMap(shardObjects)),
  );
  await syncCatalog(cluster);
  for (const { name } of chosen) requireFreeName(cluster, name);

  const totalRows = rowsOf({ collections: chosen.map(({ collection }) => collection) });
  const summary: RestoreSummary = { timestamp: backup.timestamp, collections: 0, rows: 0, bytes: 0 };
  let readRows = 0;
  const onRows = (rows: number) => {
    readRows += rows;
    onProgress?.(readRows, totalRows);
  };
  onProgress?.(0, totalRows);
  await using pin = await takePin(cluster, holder);
  for (const { collection, name } of chosen) {
    // What is another's name now cannot be an alias of this one.
    const isFree = (alias: string) =>
      !chosen.some((each) => isSame(each.name, { database: name.database, name: alias }));
    const aliases = collection.aliases?.filter(isFree);
    const restored = await restoreOne(cluster, { folder, backup, pin, onRows }, { ...collection, aliases }, name);
    summary.collections++;
    summary.rows += restored.rows;
    summary.bytes += restored.bytes;
    onRestored?.(name, restored.rows);
  }
  return summary;
}

interface Restore {
  folder: string;
  backup: Backup;
  pin: Pin;
  onRows: (rows: number) => void;
}

async function restoreOne(
  cluster: Cluster,
  restore: Restore,
  collection: BackupCollection,
  { database, name }: CollectionName,
): Promise<{ rows: number; bytes: number }> {
  const { pin, backup } = restore;
  const collectionId = await newIds(cluster, 1 + collection.partitions.length);
  const partitionIds = new Map(collection.partitions.map(({ partitionId }, n) => [partitionId, collectionId + 1 + n]));
  const ts = await newTimestamp(cluster);
  const distance = ts - backup.timestamp;
  const shards: RestoreCollection["shards"] = [];
  let autoIdMax = 0;
  for (const [shard, { segments, deltas }] of collection.shards.entries()) {
    const deletes: DeletedKeys[] = [];
    for (const { object } of deltas) deletes.push(...readDeletedKeys(await readObject(restore.folder, object)));
    const restored: SegmentDoc[] = [];
    const target = { folder: restoredFolder(collectionId, shard), partitionIds, distance };
    await inParallel(segments, SEGMENTS_AT_ONCE, pin.lost, async (segment) => {
      const result = await restoreSegment(cluster, restore, collection.schema, { segment, deletes }, target);
      restore.onRows(segment.rowCount);
      if (result === null) return;
      restored.push(result.doc);
      if (result.autoIdMax > autoIdMax) autoIdMax = result.autoIdMax;
    }).catch((error: unknown) => {
      if (!pin.lost.aborted) throw error;
      throw new VdbError("unavailable", "the hold on the objects was lost: start the restore again", { cause: error });
    });
    shards.push({ segments: restored });
  }
  const { aliases, description, schema, indexes, loaded, consistencyLevel, properties } = collection;
  await askLeader(cluster, restoreCollection, {
    collectionId,
    database,
    name,
    ...(aliases === undefined ? {} : { aliases }),
    description,
    schema,
    partitions: collection.partitions.map((each) => ({ ...each, partitionId: partitionIds.get(each.partitionId)! })),
    indexes,
    loaded,
    consistencyLevel,
    properties,
    shards,
    ts,
    ...(schema.autoId ? { autoIdMax } : {}),
    pin: pin.ref,
  });
  const segments = shards.flatMap((shard) => shard.segments);
  return {
    rows: segments.reduce((sum, { rowCount }) => sum + rowCount, 0),
    bytes: segments.reduce((sum, { object }) => sum + object.bytes, 0),
  };
}

/** Null: no row of it was there. */
async function restoreSegment(
  cluster: Cluster,
  { folder, backup }: Restore,
  schema: CollectionSchema,
  source: { segment: BackupSegment; deletes: readonly DeletedKeys[] },
  target: { folder: string; partitionIds: ReadonlyMap<number, number>; distance: bigint },
): Promise<{ doc: SegmentDoc; autoIdMax: number } | null> {
  const { clock, blobs, random } = cluster;
  const { object, deletes, partitionId: oldPartitionId } = source.segment;
  const partitionId = target.partitionIds.get(oldPartitionId);
  if (partitionId === undefined) throw new VdbError("corrupt", `the backup names no partition ${oldPartitionId}`);
  const segment = await readSegment(source.segment, primaryField(schema), await readObject(folder, object), clock);
  if (deletes !== undefined) await applyDeletedRows(segment, await readObject(folder, deletes.object), clock);
  for (const part of source.deletes) await applyDeletedKeys(segment, part, clock);
  const visible = await visibleRows(segment, backup.timestamp, clock);
  if (visible.count === 0) return null;

  const segmentId = random.ulid();
  let [minTs, maxTs] = [0n, 0n];
  const chunks = async function* () {
    for await (const chunk of movedChunks(segment, visible, target.distance, clock)) {
      if (minTs === 0n) minTs = chunk.timestamps[0]!;
      maxTs = chunk.timestamps.at(-1)!;
      yield chunk;
    }
  };
  const vectorFields = vectorFieldsOf(schema.fields, segment.chunks);
  const stored = await blobs.put(
    `${target.folder}${segmentId}.arrow`,
    writeSegmentFile(schema.fields, chunks(), clock, vectorFields),
  );
  const doc: SegmentDoc = {
    segmentId,
    partitionId,
    rowCount: visible.count,
    minTs,
    maxTs,
    object: stored,
    indexes: {},
    deletesSeq: 0,
    vectorFields,
  };
  return { doc, autoIdMax: schema.autoId ? await greatestId(segment, clock) : 0 };
}

/** Of keys that the database made: those above what it can hand out were a user's. */
async function greatestId(segment: Segment, clock: Cluster["clock"]): Promise<number> {
  let greatest = 0;
  for (const { batch } of segment.chunks) {
    await takeTurn(clock);
    const keys = batch.columns[segment.keyFieldId] as KeyColumn;
    for (let row = 0; row < batch.rowCount; row++) {
      const id = Number(keyAt(keys, row));
      if (id > greatest && id <= AUTO_ID_MAX) greatest = id;
    }
  }
  return greatest;
}

/** @throws VdbError collection_not_found */
function chooseCollections(backup: Backup, names: RestoreOptions["collections"]): BackupCollection[] {
  if (names === undefined) return backup.collections;
  return names.map(({ database, name }) => {
    const found = backup.collections.find((each) => each.database === database && each.name === name);
    if (found !== undefined) return found;
    const there = backup.collections.map((each) => each.name).join(", ");
    throw new VdbError("collection_not_found", `the backup holds no collection ${name}, but ${there || "none"}`);
  });
}

/** @throws VdbError collection_not_found, invalid_parameter */
function withNames(
  collections: readonly BackupCollection[],
  renames: NonNullable<RestoreOptions["renames"]>,
): { collection: BackupCollection; name: CollectionName }[] {
  for (const { from } of renames) {
    if (!collections.some((collection) => isSame(collection, from)))
      throw new VdbError("collection_not_found", `${from.name} is to get another name, but is not restored`);
  }
  const named = collections.map((collection) => {
    const { database, name } = renames.find(({ from }) => isSame(collection, from))?.to ?? collection;
    return { collection, name: { database, name } };
  });
  const twice = named.find(({ name }, n) => named.some((other, m) => m < n && isSame(other.name, name)));
  if (twice === undefined) return named;
  throw new VdbError("invalid_parameter", `two collections would be restored as ${twice.name.name}`);
}

function isSame(a: CollectionName, b: CollectionName): boolean {
  return a.database === b.database && a.name === b.name;
}

/** @throws VdbError unexpected */
function requireFreeName({ catalog }: Cluster, { database, name }: CollectionName): void {
  if (catalog.cache.revisionOf(metaKeys.name(database, name)) === 0) return;
  const message = `a collection or alias ${name} exists already and is not overwritten: drop it, or restore under another name`;
  throw new VdbError("unexpected", message);
}
