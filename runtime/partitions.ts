/**
 * What a collection's document says of its partitions: which there are, which are served, and where a partition key
 * sends a row. Sets are made once a document.
 */
import { VdbError } from "./errors.ts";
import type { CollectionDoc } from "./protocol/catalog.ts";
import type { CollectionSchema, FieldSchema } from "./schema.ts";
import { hashKey, type KeyColumn } from "./segment/keys.ts";

export const DEFAULT_PARTITION = "_default";
export const PARTITIONS_MAX = 1024;
/** Of a collection with a partition key. */
export const KEY_PARTITIONS_DEFAULT = 16;

type WithPartitions = Pick<CollectionDoc, "partitions">;

const live = new WeakMap<CollectionDoc["partitions"], ReadonlySet<number>>();
const NONE: ReadonlySet<number> = new Set();

/** Ids of the partitions that there are: rows of others have been dropped, wherever they still lie. */
export function livePartitions({ partitions }: WithPartitions): ReadonlySet<number> {
  let ids = live.get(partitions);
  if (ids === undefined) {
    ids = new Set(partitions.map(({ partitionId }) => partitionId));
    live.set(partitions, ids);
  }
  return ids;
}

const loadedOf = new WeakMap<NonNullable<CollectionDoc["loaded"]>, ReadonlySet<number>>();

/** Ids of the partitions that are served; none while the collection is released. */
export function loadedPartitions(collection: Pick<CollectionDoc, "partitions" | "loaded">): ReadonlySet<number> {
  const { loaded } = collection;
  if (loaded === undefined) return NONE;
  if (loaded.partitionIds === undefined) return livePartitions(collection);
  let ids = loadedOf.get(loaded);
  if (ids === undefined) {
    const there = livePartitions(collection);
    ids = new Set(loaded.partitionIds.filter((partitionId) => there.has(partitionId)));
    loadedOf.set(loaded, ids);
  }
  return ids;
}

export function partitionKeyField({ fields }: Pick<CollectionSchema, "fields">): FieldSchema | undefined {
  return fields.find(({ isPartitionKey }) => isPartitionKey === true);
}

/** Which of the collection's partitions, by place in their list, the rows of a partition key's value are in. For ever: the list never changes. */
export function partitionOfKey(column: KeyColumn, row: number, partitionCount: number): number {
  return hashKey(column, row) % partitionCount;
}

function partitionName({ partitions }: WithPartitions, partitionId: number): string {
  return partitions.find((partition) => partition.partitionId === partitionId)?.name ?? String(partitionId);
}

export function partitionNotLoaded(collection: WithPartitions, partitionId: number): VdbError {
  const name = partitionName(collection, partitionId);
  return new VdbError("partition_not_loaded", `partition not loaded[partition=${name}]`);
}
