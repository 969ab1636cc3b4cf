/** The meta cache with types: what each key holds, in the field's terms. Reads only; changes go through MetaPort. */
import { VdbError } from "../errors.ts";
import {
  type ChannelDoc,
  type CheckpointDoc,
  type ClusterDoc,
  type CollectionDoc,
  type CompactionDoc,
  type DatabaseDoc,
  type EpochDoc,
  encodeDoc,
  type ImportDoc,
  type ManifestDoc,
  type MembersDoc,
  metaKeys,
  type NameDoc,
  type PrivilegeGroupDoc,
  type ResourceGroupDoc,
  type RoleDoc,
  type UserDoc,
  type ViewDoc,
  type WindowDoc,
} from "../protocol/catalog.ts";
import type { MetaCache } from "./cache.ts";
import type { MetaOp } from "./port.ts";

export const DEFAULT_DATABASE = "default";
export const DEFAULT_DATABASE_ID = 1;

export interface Catalog {
  readonly cache: MetaCache;
  cluster(): ClusterDoc | undefined;
  epoch(): EpochDoc | undefined;
  members(): MembersDoc | undefined;
  window(key: string): WindowDoc | undefined;
  channelOwner(pchannel: number): ChannelDoc | undefined;
  checkpoint(pchannel: number): CheckpointDoc | undefined;
  /** The default database has a document only once it has properties. */
  database(name: string): DatabaseDoc | undefined;
  databases(): DatabaseDoc[];
  collection(collectionId: number): CollectionDoc | undefined;
  collections(): CollectionDoc[];
  /** By its name or one of its aliases. */
  collectionByName(database: string, name: string): CollectionDoc | undefined;
  manifest(vchannel: string): ManifestDoc | undefined;
  view(vchannel: string): ViewDoc | undefined;
  compaction(compactionId: number): CompactionDoc | undefined;
  compactions(): CompactionDoc[];
  importJob(jobId: number): ImportDoc | undefined;
  importJobs(): ImportDoc[];
  resourceGroup(name: string): ResourceGroupDoc | undefined;
  /** By name. */
  resourceGroups(): ResourceGroupDoc[];
  /** Users with documents; runtime/access-control.ts says who exists without one. */
  user(name: string): UserDoc | undefined;
  users(): UserDoc[];
  role(name: string): RoleDoc | undefined;
  roles(): RoleDoc[];
  /** Without the built-in ones. */
  privilegeGroup(name: string): PrivilegeGroupDoc | undefined;
  privilegeGroups(): PrivilegeGroupDoc[];
}

export function createCatalog(cache: MetaCache): Catalog {
  const catalog: Catalog = {
    cache,
    cluster: () => cache.get(metaKeys.cluster) as ClusterDoc | undefined,
    epoch: () => cache.get(metaKeys.epoch) as EpochDoc | undefined,
    members: () => cache.get(metaKeys.members) as MembersDoc | undefined,
    window: (key) => cache.get(key) as WindowDoc | undefined,
    channelOwner: (pchannel) => cache.get(metaKeys.channel(pchannel)) as ChannelDoc | undefined,
    checkpoint: (pchannel) => cache.get(metaKeys.checkpoint(pchannel)) as CheckpointDoc | undefined,
    database: (name) => cache.get(metaKeys.database(name)) as DatabaseDoc | undefined,
    databases: () => [...cache.entries("database.")].map(([, doc]) => doc as DatabaseDoc),
    collection: (collectionId) => cache.get(metaKeys.collection(collectionId)) as CollectionDoc | undefined,
    collections: () => [...cache.entries("collection.")].map(([, doc]) => doc as CollectionDoc),
    collectionByName(database, name) {
      const found = cache.get(metaKeys.name(database, name)) as NameDoc | undefined;
      return found === undefined ? undefined : catalog.collection(found.collectionId);
    },
    manifest: (vchannel) => cache.get(metaKeys.manifest(vchannel)) as ManifestDoc | undefined,
    view: (vchannel) => cache.get(metaKeys.view(vchannel)) as ViewDoc | undefined,
    compaction: (compactionId) => cache.get(metaKeys.compaction(compactionId)) as CompactionDoc | undefined,
    compactions: () => [...cache.entries("compaction.")].map(([, doc]) => doc as CompactionDoc),
    importJob: (jobId) => cache.get(metaKeys.importJob(jobId)) as ImportDoc | undefined,
    importJobs: () => [...cache.entries("import.")].map(([, doc]) => doc as ImportDoc),
    resourceGroup: (name) => cache.get(metaKeys.resourceGroup(name)) as ResourceGroupDoc | undefined,
    resourceGroups: () =>
      [...cache.entries("group.")].map(([, doc]) => doc as ResourceGroupDoc).sort((a, b) => (a.name < b.name ? -1 : 1)),
    user: (name) => cache.get(metaKeys.user(name)) as UserDoc | undefined,
    users: () => [...cache.entries("user.")].map(([, doc]) => doc as UserDoc),
    role: (name) => cache.get(metaKeys.role(name)) as RoleDoc | undefined,
    roles: () => [...cache.entries("role.")].map(([, doc]) => doc as RoleDoc),
    privilegeGroup: (name) => cache.get(metaKeys.privilegeGroup(name)) as PrivilegeGroupDoc | undefined,
    privilegeGroups: () => [...cache.entries("privileges.")].map(([, doc]) => doc as PrivilegeGroupDoc),
  };
  return catalog;
}

/** Writes a document where the cache last saw its key: create when it has none, compare-and-set otherwise. */
export function putDoc(cache: MetaCache, key: string, doc: unknown): MetaOp {
  return { op: "put", key, value: encodeDoc(key, doc), revision: cache.revisionOf(key) };
}

/** Makes a batch fail unless a key's value is as the cache last saw it. */
export function guardDoc(cache: MetaCache, key: string): MetaOp {
  return { op: "guard", key, revision: cache.revisionOf(key) };
}

/** What the sender of a request calls the collection; see Called in protocol/values.ts. */
export interface CalledBy {
  database: string;
  name: string;
}

/** The collection that a request is for: once it is called otherwise, the request was not meant for it. */
export function calledNow({ collectionId, database, name }: CollectionDoc): { collectionId: number; called: CalledBy } {
  return { collectionId, called: { database, name } };
}

/** Whether the collection has the name; true when none is given. */
export function isCalled({ database, name }: CollectionDoc, called: CalledBy | undefined): boolean {
  return called === undefined || (called.database === database && called.name === name);
}

/** The collection of an id, if it is called so. @throws VdbError collection_not_found */
export function existingCollection(catalog: Catalog, collectionId: number, called?: CalledBy): CollectionDoc {
  const collection = catalog.collection(collectionId);
  if (collection === undefined) {
    throw new VdbError("collection_not_found", `collection not found[collection=${collectionId}]`);
  }
  if (!isCalled(collection, called)) throw collectionNotFound(called!.database, called!.name);
  return collection;
}

export function collectionNotFound(database: string, name: string): VdbError {
  return new VdbError("collection_not_found", `can't find collection[database=${database}][collection=${name}]`);
}

/**
 * Why a shard is gone: its collection was dropped, or truncated; in the latter case a retried request finds the new shards.
 */
export function shardGone(catalog: Catalog, vchannel: string): VdbError {
  // A vchannel's name begins with its collection's id.
  if (catalog.collection(Number.parseInt(vchannel, 10)) === undefined) {
    return new VdbError("collection_not_found", `shard ${vchannel} has been dropped`);
  }
  return new VdbError("collection_truncated", `shard ${vchannel} has been truncated`);
}
