/** Loading and releasing, whole collections and single partitions: what is to be served, and by how many. */
import { isDeepStrictEqual } from "node:util";
import { VdbError } from "../../../runtime/errors.ts";
import { loadedPartitions } from "../../../runtime/partitions.ts";
import { type CollectionDoc, metaKeys } from "../../../runtime/protocol/catalog.ts";
import type { loadCollection, releaseCollection, releasePartitions } from "../../../runtime/protocol/coordinator.ts";
import { vectorFields } from "../../../runtime/schema.ts";
import { loadedIn } from "../resource-groups.ts";
import type { ChangeContext, Changed } from "./changes.ts";

type LoadCollection = (typeof loadCollection)["request"]["_output"];
type ReleasePartitions = (typeof releasePartitions)["request"]["_output"];
type ReleaseCollection = (typeof releaseCollection)["request"]["_output"];

export interface LoadChanges {
  load(request: LoadCollection): Promise<Changed>;
  release(request: ReleaseCollection): Promise<Changed>;
  releasePartitions(request: ReleasePartitions): Promise<Changed>;
}

export function loadChanges(changes: ChangeContext): LoadChanges {
  const { ctx, commit, existing, put, removeAll } = changes;
  const released = ({ loaded: _, ...collection }: CollectionDoc) => [
    put(collection),
    ...removeAll(collection.shards.map(({ vchannel }) => metaKeys.view(vchannel))),
  ];
  return {
    load: ({ collectionId, replicaNumber, resourceGroups, partitionIds, fieldIds }) =>
      commit(() => {
        const collection = existing(collectionId);
        const before = collection.loaded;
        const loaded = {
          ...loadedIn(ctx, replicaNumber, resourceGroups, replicasOf(before)),
          ...servedWith(collection, partitionIds),
          ...fieldsOf(before, fieldIds),
        };
        if (isDeepStrictEqual(before, loaded)) return null;
        for (const { fieldId, name } of vectorFields(collection.schema)) {
          if (collection.indexes.some((index) => index.fieldId === fieldId)) continue;
          throw new VdbError(
            "index_not_found",
            `index not found[collection=${collection.name}]: vector field ${name} has no index`,
          );
        }
        return [put({ ...collection, loaded })];
      }),

    release: ({ collectionId, called }) =>
      commit(() => {
        const collection = existing(collectionId, called);
        return collection.loaded === undefined ? null : released(collection);
      }),

    // The views follow: what is served no longer is read by nobody from this commit on.
    releasePartitions: ({ collectionId, called, partitionIds }) =>
      commit(() => {
        const collection = existing(collectionId, called);
        const { loaded } = collection;
        if (loaded === undefined) return null;
        const served = [...loadedPartitions(collection)];
        const left = served.filter((partitionId) => !partitionIds.includes(partitionId));
        if (left.length === 0) return released(collection);
        if (left.length === served.length) return null;
        return [put({ ...collection, loaded: { ...loaded, partitionIds: left } })];
      }),
  };
}

function replicasOf(loaded: CollectionDoc["loaded"]): CollectionDoc["loaded"] {
  if (loaded === undefined) return undefined;
  const { replicaNumber, resourceGroups } = loaded;
  return resourceGroups === undefined ? { replicaNumber } : { replicaNumber, resourceGroups };
}

/** @param more absent: all partitions. @throws VdbError partition_not_found */
function servedWith(collection: CollectionDoc, more: readonly number[] | undefined): { partitionIds?: number[] } {
  const { loaded, partitions } = collection;
  if (more === undefined || (loaded !== undefined && loaded.partitionIds === undefined)) return {};
  const there = new Set(partitions.map(({ partitionId }) => partitionId));
  const unknown = more.find((partitionId) => !there.has(partitionId));
  if (unknown !== undefined) throw new VdbError("partition_not_found", `partition not found[partition=${unknown}]`);
  const served = new Set([...loadedPartitions(collection), ...more]);
  return { partitionIds: [...served].sort((a, b) => a - b) };
}

/** @throws VdbError invalid_parameter */
function fieldsOf(before: CollectionDoc["loaded"], asked: readonly number[] | undefined): { fieldIds?: number[] } {
  const given = before?.fieldIds;
  if (before === undefined) return asked === undefined ? {} : { fieldIds: [...asked] };
  if (asked === undefined || isDeepStrictEqual(given, asked)) return given === undefined ? {} : { fieldIds: given };
  throw new VdbError("invalid_parameter", "can't change the load field list for loaded collection");
}
