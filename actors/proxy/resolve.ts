/**
 * Names to what the catalogue says of them. Absence is believed only after a look at the store itself: the client may
 * have created through another proxy a moment ago, and the watch may be that late.
 */
import type { ActorContext } from "../../runtime/actor.ts";
import type { Call } from "../../runtime/bus/bus.ts";
import { VdbError } from "../../runtime/errors.ts";
import { collectionNotFound, DEFAULT_DATABASE } from "../../runtime/meta/catalog.ts";
import type { CollectionDoc } from "../../runtime/protocol/catalog.ts";

const DEFAULT_PARTITION = "_default";

export interface CollectionName {
  dbName?: string | undefined;
  collectionName: string;
}

/** @throws VdbError database_not_found */
export function databaseOf(dbName: string | undefined): string {
  if (dbName === undefined || dbName === "" || dbName === DEFAULT_DATABASE) return DEFAULT_DATABASE;
  throw new VdbError("database_not_found", `database not found[database=${dbName}]`);
}

/** Undefined when there is none. @throws VdbError database_not_found, unavailable, deadline_exceeded */
export async function findCollection(
  actor: ActorContext,
  name: CollectionName,
  call: Call,
): Promise<CollectionDoc | undefined> {
  const database = databaseOf(name.dbName);
  const { catalog } = actor;
  const known = catalog.collectionByName(database, name.collectionName);
  if (known !== undefined) return known;
  await catalog.cache.sync(call.deadline);
  return catalog.collectionByName(database, name.collectionName);
}

/** @throws VdbError collection_not_found, and as findCollection */
export async function resolveCollection(actor: ActorContext, name: CollectionName, call: Call): Promise<CollectionDoc> {
  const found = await findCollection(actor, name, call);
  if (found === undefined) throw collectionNotFound(databaseOf(name.dbName), name.collectionName);
  return found;
}

/** @throws VdbError collection_not_loaded, and as resolveCollection */
export async function resolveLoaded(actor: ActorContext, name: CollectionName, call: Call): Promise<CollectionDoc> {
  const found = await resolveWhere(actor, name, call, ({ loaded }) => loaded !== undefined);
  if (found.loaded === undefined) {
    throw new VdbError("collection_not_loaded", `collection not loaded[collection=${name.collectionName}]`);
  }
  return found;
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

/** The partition's id; the default one's when none is named. @throws VdbError partition_not_found */
export function partitionIdOf(collection: CollectionDoc, name: string | undefined): number {
  const wanted = name === undefined || name === "" ? DEFAULT_PARTITION : name;
  const found = collection.partitions.find((partition) => partition.name === wanted);
  if (found === undefined) throw new VdbError("partition_not_found", `partition not found[partition=${wanted}]`);
  return found.partitionId;
}

/** Null for all. @throws VdbError partition_not_found */
export function partitionIdsOf(collection: CollectionDoc, names: readonly string[] | undefined): number[] | null {
  if (names === undefined || names.length === 0) return null;
  return names.map((name) => partitionIdOf(collection, name));
}
