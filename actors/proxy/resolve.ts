/**
 * Looks up names in the catalogue. Absence is believed only after a look at the store itself: the client may have
 * created the thing through another proxy a moment ago, and the watch may not have brought it yet. Writes and Strong
 * reads also look there for what an alias stands for: it may have been pointed elsewhere.
 */
import type { ActorContext } from "../../runtime/actor.ts";
import type { Call } from "../../runtime/bus/bus.ts";
import { VdbError } from "../../runtime/errors.ts";
import { collectionNotFound, DEFAULT_DATABASE } from "../../runtime/meta/catalog.ts";
import {
  DEFAULT_PARTITION,
  loadedPartitions,
  partitionKeyField,
  partitionNotLoaded,
} from "../../runtime/partitions.ts";
import type { CollectionDoc } from "../../runtime/protocol/catalog.ts";
import { resolvedFor } from "./access/resolved.ts";

export interface CollectionName {
  dbName?: string | undefined;
  collectionName: string;
  /** When there are any, a document that does not know them is not believed to be the newest. */
  partitionName?: string | undefined;
  partitionNames?: string[] | undefined;
  /** Of a read; absent: the collection's own. */
  consistencyLevel?: string | undefined;
}

/** The one that is meant, whether there is such a one or not. */
export function databaseName(dbName: string | undefined): string {
  return dbName === undefined || dbName === "" ? DEFAULT_DATABASE : dbName;
}

/** The one that is meant, which is there. @throws VdbError database_not_found, unavailable, deadline_exceeded */
export async function resolveDatabase(actor: ActorContext, dbName: string | undefined, call: Call): Promise<string> {
  const name = databaseName(dbName);
  const { catalog } = actor;
  if (name === DEFAULT_DATABASE || catalog.database(name) !== undefined) return name;
  await catalog.cache.sync(call.deadline);
  if (catalog.database(name) !== undefined) return name;
  throw new VdbError("database_not_found", `database not found[database=${name}]`);
}

/** By its name or an alias of it. Undefined when there is none. @throws VdbError database_not_found, unavailable, deadline_exceeded */
export async function findCollection(
  actor: ActorContext,
  name: CollectionName,
  call: Call,
): Promise<CollectionDoc | undefined> {
  const database = databaseName(name.dbName);
  const { catalog } = actor;
  const known = catalog.collectionByName(database, name.collectionName);
  if (known !== undefined) return resolvedFor(call, known);
  await catalog.cache.sync(call.deadline);
  await resolveDatabase(actor, database, call);
  const found = catalog.collectionByName(database, name.collectionName);
  return found && resolvedFor(call, found);
}

/** @throws VdbError collection_not_found, and as findCollection */
export async function resolveCollection(actor: ActorContext, name: CollectionName, call: Call): Promise<CollectionDoc> {
  let found = await findCollection(actor, name, call);
  if (found !== undefined && !namesOf(name).every((partition) => findPartition(found!, partition) !== undefined)) {
    await actor.catalog.cache.sync(call.deadline);
    found = await findCollection(actor, name, call);
  }
  if (found === undefined) throw collectionNotFound(databaseName(name.dbName), name.collectionName);
  return found;
}

/** @throws VdbError collection_not_loaded, and as resolveCollection */
export async function resolveLoaded(actor: ActorContext, name: CollectionName, call: Call): Promise<CollectionDoc> {
  const found = await resolveWhere(actor, name, call, (collection) => {
    const loaded = loadedPartitions(collection);
    return (
      collection.loaded !== undefined &&
      namesOf(name).every((partition) => loaded.has(findPartition(collection, partition) ?? 0))
    );
  });
  if (found.loaded === undefined) {
    throw new VdbError("collection_not_loaded", `collection not loaded[collection=${name.collectionName}]`);
  }
  const isStrong = (name.consistencyLevel || found.consistencyLevel) === "Strong";
  return isStrong && (await hasMoved(actor, name, found, call)) ? resolveLoaded(actor, name, call) : found;
}

/** The collection that a write goes to. @throws VdbError as resolveCollection */
export async function resolveToWrite(actor: ActorContext, name: CollectionName, call: Call): Promise<CollectionDoc> {
  const found = await resolveCollection(actor, name, call);
  return (await hasMoved(actor, name, found, call)) ? resolveToWrite(actor, name, call) : found;
}

/** Whether an alias stands for another collection by now. */
async function hasMoved(
  { catalog }: ActorContext,
  { dbName, collectionName }: CollectionName,
  found: CollectionDoc,
  call: Call,
): Promise<boolean> {
  if (found.name === collectionName) return false;
  await catalog.cache.sync(call.deadline);
  return catalog.collectionByName(databaseName(dbName), collectionName)?.collectionId !== found.collectionId;
}

/** The collection, read anew when what is known of it does not meet the condition. The caller judges what comes back. */
export async function resolveWhere(
  actor: ActorContext,
  name: CollectionName,
  call: Call,
  condition: (collection: CollectionDoc) => boolean,
): Promise<CollectionDoc> {
  const found = await resolveCollection(actor, name, call);
  if (condition(found)) return found;
  await actor.catalog.cache.sync(call.deadline);
  return resolveCollection(actor, name, call);
}

function namesOf({ partitionName, partitionNames = [] }: CollectionName): string[] {
  return partitionName === undefined || partitionName === "" ? partitionNames : [...partitionNames, partitionName];
}

function findPartition({ partitions }: CollectionDoc, name: string): number | undefined {
  return partitions.find((partition) => partition.name === name)?.partitionId;
}

/**
 * The id of the partition that a write names; the default one's when it names none. With a partition key the rows say
 * where they go, and the first one's stands for all.
 * @throws VdbError partition_not_found, unexpected (named, though there is a partition key)
 */
export function partitionIdOf(collection: CollectionDoc, name: string | undefined): number {
  const isNamed = name !== undefined && name !== "";
  if (partitionKeyField(collection.schema) !== undefined) {
    if (isNamed) throw namedThoughKeyed();
    return collection.partitions[0]!.partitionId;
  }
  return namedPartition(collection, isNamed ? name : DEFAULT_PARTITION);
}

/** @throws VdbError partition_not_found */
export function namedPartition(collection: CollectionDoc, name: string): number {
  const found = findPartition(collection, name);
  if (found === undefined) throw new VdbError("partition_not_found", `partition not found[partition=${name}]`);
  return found;
}

/** Of what is said about partitions, not read from them; null for all. @throws VdbError partition_not_found */
export function namedPartitions(collection: CollectionDoc, names: readonly string[] | undefined): number[] | null {
  return names === undefined || names.length === 0 ? null : names.map((name) => namedPartition(collection, name));
}

/**
 * The ids of the partitions that a read names; null for all.
 * @throws VdbError partition_not_loaded; unexpected (no such partition, or named though there is a partition key)
 */
export function partitionIdsOf(collection: CollectionDoc, names: readonly string[] | undefined): number[] | null {
  if (partitionKeyField(collection.schema) !== undefined) {
    if (names !== undefined && names.length > 0) throw namedThoughKeyed();
    return null;
  }
  if (names === undefined || names.length === 0) return null;
  const loaded = loadedPartitions(collection);
  return names.map((name) => {
    const found = findPartition(collection, name);
    if (found === undefined) throw new VdbError("unexpected", `partition name ${name} not found`);
    if (!loaded.has(found)) throw partitionNotLoaded(collection, found);
    return found;
  });
}

function namedThoughKeyed(): VdbError {
  return new VdbError(
    "unexpected",
    "not support manually specifying the partition names if partition key mode is used",
  );
}
