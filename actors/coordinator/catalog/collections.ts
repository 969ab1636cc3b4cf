/** Collections: made, dropped, renamed, emptied, given properties. */
import { isDeepStrictEqual } from "node:util";
import { VdbError } from "../../../runtime/errors.ts";
import { type Catalog, isCalled, putDoc } from "../../../runtime/meta/catalog.ts";
import { type CollectionDoc, metaKeys } from "../../../runtime/protocol/catalog.ts";
import type {
  alterCollection,
  createCollection,
  dropCollection,
  renameCollection,
  truncateCollection,
} from "../../../runtime/protocol/coordinator.ts";
import type { CollectionSchema } from "../../../runtime/schema.ts";
import { alteredProperties, type ChangeContext, type Changed } from "./changes.ts";
import { guardDatabase, requireDatabase, requireRoomIn } from "./databases.ts";
import { withDynamicField } from "./fields.ts";
import { newPartitions, requireCapacity } from "./partitions.ts";
import { newManifest, nextShards, placeShards } from "./shards.ts";

const COLLECTIONS_MAX = 65_536;
/** More truncations of one collection do not happen while a request is under way. */
const TRUNCATIONS_KNOWN = 32;
const FIRST_FIELD_ID = 100;
const FIRST_FUNCTION_ID = 100;

type CreateCollection = (typeof createCollection)["request"]["_output"];
type DropCollection = (typeof dropCollection)["request"]["_output"];
type RenameCollection = (typeof renameCollection)["request"]["_output"];
type TruncateCollection = (typeof truncateCollection)["request"]["_output"];
type AlterCollection = (typeof alterCollection)["request"]["_output"];

export interface CollectionChanges {
  createCollection(request: CreateCollection): Promise<{ collectionId: number; revision: number }>;
  dropCollection(request: DropCollection): Promise<Changed>;
  renameCollection(request: RenameCollection): Promise<Changed>;
  truncateCollection(request: TruncateCollection): Promise<Changed>;
  alterCollection(request: AlterCollection): Promise<Changed>;
}

export function collectionChanges(changes: ChangeContext): CollectionChanges {
  const { ctx, catalog, cache, windows, commit, newId, existing, put, remove, removeAll } = changes;
  return {
    async createCollection(request) {
      const { database, name } = request;
      const schema: CollectionSchema = {
        version: 1,
        fields: request.fields.map((field, i) => ({ ...field, fieldId: FIRST_FIELD_ID + i })),
        autoId: request.autoId,
        enableDynamicField: request.enableDynamicField,
        ...schemaFunctions(request),
      };
      let collectionId = 0;
      const { revision } = await commit(async () => {
        const other = catalog.collectionByName(database, name);
        if (other !== undefined && other.name !== name) {
          throw new VdbError(
            "alias_collection_conflict",
            `collection name [${name}] conflicts with an existing alias, please choose a unique name: alias and collection name conflict[database=${database}][alias=${name}]`,
          );
        }
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
        requireDatabase(catalog, database);
        requireRoom(catalog, database);
        requireCapacity(catalog, (request.partitionCount ?? 1) * request.shardCount);
        collectionId = await newId();
        const shards = placeShards(ctx, collectionId, request.shardCount);
        const collection: CollectionDoc = {
          collectionId,
          database,
          name,
          description: request.description,
          schema,
          partitions: await newPartitions(changes, request.partitionCount),
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
          ...guardDatabase(cache, database),
        ];
      });
      return { collectionId, revision };
    },

    dropCollection: ({ collectionId, called }) =>
      commit(() => {
        if (catalog.collection(collectionId) === undefined) return null;
        const collection = existing(collectionId, called);
        const { database, name, aliases = [] } = collection;
        if (aliases.length > 0) {
          throw new VdbError(
            "unexpected",
            `unable to drop the collection [${name}] because it has associated aliases [${aliases.join(" ")}], please remove all aliases before dropping the collection`,
          );
        }
        return [
          ...remove([metaKeys.collection(collectionId), metaKeys.name(database, name)]),
          ...removeAll(shardKeys(collection)),
        ];
      }),

    renameCollection: ({ collectionId, called, database, name }) =>
      commit(() => {
        if (isCalled(existing(collectionId), { database, name })) return null;
        const collection = existing(collectionId, called);
        const { aliases = [] } = collection;
        requireDatabase(catalog, database);
        if (aliases.length > 0 && database !== collection.database) {
          throw new VdbError(
            "unexpected",
            `fail to rename collection to different database, must drop all aliases of collection ${collection.name} before rename`,
          );
        }
        const other = catalog.collectionByName(database, name);
        if (other !== undefined) throw nameTaken(other, database, name);
        if (database !== collection.database) requireRoomIn(catalog, database);
        return [
          ...remove([metaKeys.name(collection.database, collection.name)]),
          putDoc(cache, metaKeys.name(database, name), { collectionId }),
          put({ ...collection, database, name }),
          ...guardDatabase(cache, database),
        ];
      }),

    truncateCollection: ({ collectionId, called, vchannels, requestId }) =>
      commit(async () => {
        const collection = existing(collectionId, called);
        if (!collection.shards.some(({ vchannel }) => vchannels.includes(vchannel))) return null;
        const { truncatedBy = [] } = collection;
        if (requestId !== undefined && truncatedBy.includes(requestId)) return null;
        const known = requestId === undefined ? truncatedBy : [...truncatedBy, requestId].slice(-TRUNCATIONS_KNOWN);
        const shards = nextShards(collection);
        const manifests = await Promise.all(shards.map((shard) => newManifest(ctx, collectionId, shard)));
        return [
          put({ ...collection, shards, ...(known.length === 0 ? {} : { truncatedBy: known }) }),
          ...removeAll(shardKeys(collection)),
          ...manifests.map((manifest) => putDoc(cache, metaKeys.manifest(manifest.vchannel), manifest)),
        ];
      }),

    alterCollection: ({ collectionId, set, remove: removed }) =>
      commit(() => {
        const collection = existing(collectionId);
        const { consistency_level: level, "collection.description": description, ...rest } = set;
        const properties = alteredProperties(collection.properties, rest, removed);
        const schema =
          properties["dynamicfield.enabled"] === "true" ? withDynamicField(collection.schema) : collection.schema;
        const altered: CollectionDoc = {
          ...{ ...collection, schema, properties },
          description: description ?? collection.description,
          consistencyLevel: (level as CollectionDoc["consistencyLevel"] | undefined) ?? collection.consistencyLevel,
        };
        return isDeepStrictEqual(altered, collection) ? null : [put(altered)];
      }),
  };
}

/** Of a schema without functions nothing, so that it is the same as before there were any. */
function schemaFunctions({ fields, functions = [] }: CreateCollection): Pick<CollectionSchema, "functions"> {
  if (functions.length === 0) return {};
  const idOf = (name: string) => FIRST_FIELD_ID + fields.findIndex((field) => field.name === name);
  return {
    functions: functions.map(({ inputFieldNames, outputFieldNames, ...rest }, i) => ({
      ...rest,
      functionId: FIRST_FUNCTION_ID + i,
      inputFieldIds: inputFieldNames.map(idOf),
      outputFieldIds: outputFieldNames.map(idOf),
    })),
  };
}

function shardKeys({ shards }: CollectionDoc): string[] {
  return shards.flatMap(({ vchannel }) => [metaKeys.manifest(vchannel), metaKeys.view(vchannel)]);
}

function nameTaken(other: CollectionDoc, database: string, name: string): VdbError {
  return new VdbError(
    "unexpected",
    other.name === name
      ? `duplicated new collection name ${database}:${name} with other collection name or alias`
      : `cannot rename collection to an existing alias: ${name}`,
  );
}

/** @throws VdbError collection_limit */
export function requireRoom(catalog: Catalog, database: string): void {
  requireRoomIn(catalog, database);
  if (catalog.collections().length < COLLECTIONS_MAX) return;
  throw new VdbError("collection_limit", `exceeded the limit number of collections[limit=${COLLECTIONS_MAX}]`);
}

function sameCollection(other: CollectionDoc, request: CreateCollection, schema: CollectionSchema): boolean {
  return (
    isDeepStrictEqual(other.schema, schema) &&
    other.shards.length === request.shardCount &&
    (request.partitionCount ?? other.partitions.length) === other.partitions.length &&
    other.consistencyLevel === request.consistencyLevel &&
    isDeepStrictEqual(other.properties, request.properties)
  );
}
