/**
 * Changes of the catalogue that users ask for. Each is one guarded batch: after a crash it has happened wholly or not
 * at all. They run one at a time, so each sees the one before.
 */
import { isDeepStrictEqual } from "node:util";
import type { ActorContext } from "../../runtime/actor.ts";
import { VdbError } from "../../runtime/errors.ts";
import { type Catalog, putDoc } from "../../runtime/meta/catalog.ts";
import { mapSegments } from "../../runtime/meta/manifest.ts";
import type { MetaOp } from "../../runtime/meta/port.ts";
import {
  type CollectionDoc,
  type IndexDefinition,
  type ManifestDoc,
  metaKeys,
} from "../../runtime/protocol/catalog.ts";
import type { createCollection, createIndex, loadCollection } from "../../runtime/protocol/coordinator.ts";
import { type CollectionSchema, vectorFields } from "../../runtime/schema.ts";
import type { Leadership } from "./leadership.ts";
import { loadedIn } from "./resource-groups.ts";
import type { Window } from "./window.ts";

const COLLECTIONS_MAX = 65_536;
const FIRST_FIELD_ID = 100;

type CreateCollection = (typeof createCollection)["request"]["_output"];
type CreateIndex = (typeof createIndex)["request"]["_output"];
type LoadCollection = (typeof loadCollection)["request"]["_output"];

export interface CatalogChanges {
  createCollection(request: CreateCollection): Promise<{ collectionId: number; revision: number }>;
  dropCollection(collectionId: number): Promise<{ revision: number }>;
  createIndex(request: CreateIndex): Promise<{ revision: number }>;
  dropIndex(collectionId: number, indexName: string): Promise<{ revision: number }>;
  load(request: LoadCollection): Promise<{ revision: number }>;
  release(collectionId: number): Promise<{ revision: number }>;
}

export function catalogChanges(
  ctx: ActorContext,
  leadership: Leadership,
  windows: { timestamps: Window; ids: Window },
): CatalogChanges {
  const { catalog } = ctx;
  const { cache } = catalog;

  /** Tries until the expectations hold: what `change` reads is current then. Null: there is nothing to change. */
  async function commit(change: () => Promise<MetaOp[] | null> | MetaOp[] | null): Promise<{ revision: number }> {
    for (;;) {
      const ops = await change();
      if (ops === null || (await leadership.commit(ops))) return { revision: cache.revision };
    }
  }

  async function newId(): Promise<number> {
    return Number(await windows.ids.allocate(1));
  }

  function existing(collectionId: number): CollectionDoc {
    const collection = catalog.collection(collectionId);
    if (collection === undefined)
      throw new VdbError("collection_not_found", `collection not found[collection=${collectionId}]`);
    return collection;
  }

  function put(collection: CollectionDoc): MetaOp {
    return putDoc(cache, metaKeys.collection(collection.collectionId), collection);
  }

  return {
    async createCollection(request) {
      const { database, name } = request;
      const schema: CollectionSchema = {
        version: 1,
        fields: request.fields.map((field, i) => ({ ...field, fieldId: FIRST_FIELD_ID + i })),
        autoId: request.autoId,
        enableDynamicField: request.enableDynamicField,
      };
      let collectionId = 0;
      const { revision } = await commit(async () => {
        const other = catalog.collectionByName(database, name);
        if (other !== undefined) {
          // A repeated request is answered as the first was; a different one under the same name is refused.
          if (sameCollection(other, request, schema)) {
            collectionId = other.collectionId;
            return null;
          }
          throw new VdbError(
            "unexpected",
            `create duplicate collection with different parameters, collection: ${name}`,
          );
        }
        requireRoom(catalog);
        collectionId = await newId();
        const shards = placeShards(ctx, collectionId, request.shardCount);
        const collection: CollectionDoc = {
          collectionId,
          database,
          name,
          description: request.description,
          schema,
          partitions: [{ partitionId: await newId(), name: "_default" }],
          shards,
          indexes: [],
          consistencyLevel: request.consistencyLevel,
          properties: request.properties,
          createdAt: await windows.timestamps.allocate(1),
        };
        const manifests = await Promise.all(shards.map((shard) => newManifest(ctx, collectionId, shard)));
        return [
          putDoc(cache, metaKeys.name(database, name), { collectionId }),
          put(collection),
          ...manifests.map((manifest) => putDoc(cache, metaKeys.manifest(manifest.vchannel), manifest)),
        ];
      });
      return { collectionId, revision };
    },

    dropCollection: (collectionId) =>
      commit(() => {
        const collection = catalog.collection(collectionId);
        if (collection === undefined) return null;
        const keys = [
          metaKeys.collection(collectionId),
          metaKeys.name(collection.database, collection.name),
          ...collection.shards.flatMap(({ vchannel }) => [metaKeys.manifest(vchannel), metaKeys.view(vchannel)]),
        ];
        return keys
          .filter((key) => cache.revisionOf(key) > 0)
          .map((key): MetaOp => ({ op: "delete", key, revision: cache.revisionOf(key) }));
      }),

    createIndex: ({ collectionId, index }) =>
      commit(async () => {
        const collection = existing(collectionId);
        const other = collection.indexes.find(({ fieldId, name }) => fieldId === index.fieldId || name === index.name);
        if (other !== undefined) {
          if (sameIndex(other, index)) return null;
          throw new VdbError("unexpected", "CreateIndex failed: at most one distinct index is allowed per field");
        }
        return [put({ ...collection, indexes: [...collection.indexes, { ...index, indexId: await newId() }] })];
      }),

    dropIndex: (collectionId, indexName) =>
      commit(() => {
        const collection = existing(collectionId);
        const dropped = collection.indexes.find(({ name }) => name === indexName);
        if (dropped === undefined) return null;
        if (collection.loaded !== undefined) {
          throw new VdbError(
            "invalid_parameter",
            "vector index cannot be dropped on loaded collection: release it first",
          );
        }
        const manifests = collection.shards.flatMap(({ vchannel }) => withoutIndex(ctx, vchannel, dropped));
        return [put({ ...collection, indexes: collection.indexes.filter((index) => index !== dropped) }), ...manifests];
      }),

    load: ({ collectionId, replicaNumber, resourceGroups }) =>
      commit(() => {
        const collection = existing(collectionId);
        const loaded = loadedIn(ctx, replicaNumber, resourceGroups, collection.loaded);
        if (isDeepStrictEqual(collection.loaded, loaded)) return null;
        for (const { fieldId, name } of vectorFields(collection.schema)) {
          if (collection.indexes.some((index) => index.fieldId === fieldId)) continue;
          throw new VdbError(
            "index_not_found",
            `index not found[collection=${collection.name}]: vector field ${name} has no index`,
          );
        }
        return [put({ ...collection, loaded })];
      }),

    release: (collectionId) =>
      commit(() => {
        const { loaded, ...collection } = existing(collectionId);
        if (loaded === undefined) return null;
        const views = collection.shards
          .map(({ vchannel }) => metaKeys.view(vchannel))
          .filter((key) => cache.revisionOf(key) > 0)
          .map((key): MetaOp => ({ op: "delete", key, revision: cache.revisionOf(key) }));
        return [put(collection), ...views];
      }),
  };
}

/** @throws VdbError collection_limit */
export function requireRoom(catalog: Catalog): void {
  if (catalog.collections().length < COLLECTIONS_MAX) return;
  throw new VdbError("collection_limit", `exceeded the limit number of collections[limit=${COLLECTIONS_MAX}]`);
}

/** Shards go where the fewest are, so that a hot collection is spread and many small ones share evenly. */
export function placeShards(ctx: ActorContext, collectionId: number, shardCount: number): CollectionDoc["shards"] {
  const counts = new Array<number>(ctx.catalog.cluster()?.walChannels ?? 1).fill(0);
  for (const collection of ctx.catalog.collections()) {
    for (const { pchannel } of collection.shards) counts[pchannel] = (counts[pchannel] ?? 0) + 1;
  }
  return Array.from({ length: shardCount }, (_, n) => {
    const pchannel = counts.indexOf(Math.min(...counts));
    counts[pchannel] = counts[pchannel]! + 1;
    return { vchannel: `${collectionId}v${n}`, pchannel };
  });
}

/** A shard begins at the end of the log: nothing before it is its own, so nobody need read it. */
export async function newManifest(
  ctx: ActorContext,
  collectionId: number,
  shard: CollectionDoc["shards"][number],
): Promise<ManifestDoc> {
  const { lastSeq } = await ctx.log.bounds(shard.pchannel);
  return {
    collectionId,
    ...shard,
    segments: [],
    staged: [],
    flushed: {},
    flushedSeq: lastSeq,
    deltaSeq: lastSeq,
    deltas: [],
  };
}

function withoutIndex(ctx: ActorContext, vchannel: string, index: IndexDefinition): MetaOp[] {
  const manifest = ctx.catalog.manifest(vchannel);
  if (manifest === undefined) return [];
  const key = String(index.fieldId);
  const changed = mapSegments(manifest, (segment) => {
    if (segment.indexes[key]?.indexId !== index.indexId) return segment;
    const { [key]: _, ...indexes } = segment.indexes;
    return { ...segment, indexes };
  });
  return [putDoc(ctx.catalog.cache, metaKeys.manifest(vchannel), changed)];
}

function sameCollection(other: CollectionDoc, request: CreateCollection, schema: CollectionSchema): boolean {
  return (
    isDeepStrictEqual(other.schema, schema) &&
    other.shards.length === request.shardCount &&
    other.consistencyLevel === request.consistencyLevel &&
    isDeepStrictEqual(other.properties, request.properties)
  );
}

function sameIndex({ indexId: _, ...index }: IndexDefinition, request: Omit<IndexDefinition, "indexId">): boolean {
  return isDeepStrictEqual(index, request);
}
