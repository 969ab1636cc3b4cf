/**
 * Creating and dropping partitions. A partition is dropped with its rows in one commit: the document and every manifest
 * of the collection change together, so no read sees a part of it, and a flush under way finds the manifest changed and
 * leaves its rows out. Rows of it that are still in the log are skipped in a replay.
 */
import { VdbError } from "../../../runtime/errors.ts";
import { type Catalog, putDoc } from "../../../runtime/meta/catalog.ts";
import { withoutPartition } from "../../../runtime/meta/manifest.ts";
import type { MetaOp } from "../../../runtime/meta/port.ts";
import { DEFAULT_PARTITION, loadedPartitions, PARTITIONS_MAX, partitionKeyField } from "../../../runtime/partitions.ts";
import { type CollectionDoc, metaKeys } from "../../../runtime/protocol/catalog.ts";
import type { dropPartition } from "../../../runtime/protocol/coordinator.ts";
import type { ChangeContext, Changed } from "./changes.ts";

/** Partitions times shards, over all collections. */
const CAPACITY_MAX = 65_536;

type DropPartition = (typeof dropPartition)["request"]["_output"];

export interface PartitionChanges {
  createPartition(request: { collectionId: number; name: string }): Promise<Changed>;
  dropPartition(request: DropPartition): Promise<Changed>;
}

export function partitionChanges(changes: ChangeContext): PartitionChanges {
  const { catalog, cache, commit, existing, newId, put } = changes;
  return {
    createPartition: ({ collectionId, name }) =>
      commit(async () => {
        const collection = existing(collectionId);
        refuseKeyed(collection, "create");
        const { partitions, shards } = collection;
        if (partitions.some((partition) => partition.name === name)) return null;
        if (partitions.length >= PARTITIONS_MAX) {
          throw new VdbError(
            "unexpected",
            `partition number (${partitions.length}) exceeds max configuration (${PARTITIONS_MAX}), collection: ${collection.name}`,
          );
        }
        requireCapacity(catalog, shards.length);
        return [put({ ...collection, partitions: [...partitions, { partitionId: await newId(), name }] })];
      }),

    dropPartition: ({ collectionId, called, partitionId }) =>
      commit(() => {
        const collection = existing(collectionId, called);
        refuseKeyed(collection, "drop");
        const dropped = collection.partitions.find((partition) => partition.partitionId === partitionId);
        if (dropped === undefined) return null;
        if (dropped.name === DEFAULT_PARTITION) {
          throw new VdbError("unexpected", "default partition cannot be deleted");
        }
        if (loadedPartitions(collection).has(partitionId)) {
          throw new VdbError("unexpected", "partition cannot be dropped, partition is loaded, please release it first");
        }
        const partitions = collection.partitions.filter((partition) => partition !== dropped);
        // Every manifest, also one that names nothing of it: a flush under way must find it changed.
        const manifests = collection.shards.flatMap(({ vchannel }): MetaOp[] => {
          const manifest = catalog.manifest(vchannel);
          if (manifest === undefined) return [];
          return [putDoc(cache, metaKeys.manifest(vchannel), withoutPartition(manifest, partitionId))];
        });
        return [put({ ...collection, partitions }), ...manifests];
      }),
  };
}

/** Of a new collection. @param keyed how many rows are spread over by their partition key; undefined: there is none */
export async function newPartitions(
  { windows }: ChangeContext,
  keyed: number | undefined,
): Promise<CollectionDoc["partitions"]> {
  const first = Number(await windows.ids.allocate(keyed ?? 1));
  if (keyed === undefined) return [{ partitionId: first, name: DEFAULT_PARTITION }];
  return Array.from({ length: keyed }, (_, i) => ({ partitionId: first + i, name: `${DEFAULT_PARTITION}_${i}` }));
}

/** @throws VdbError general_capacity */
export function requireCapacity(catalog: Catalog, more: number): void {
  let used = 0;
  for (const { partitions, shards } of catalog.collections()) used += partitions.length * shards.length;
  if (used + more <= CAPACITY_MAX) return;
  throw new VdbError(
    "general_capacity",
    `failed checking constraint: sum_collections(parition*shard) exceeding the max general capacity: ${CAPACITY_MAX}: general capacity exceeded`,
  );
}

function refuseKeyed({ schema }: CollectionDoc, what: "create" | "drop"): void {
  if (partitionKeyField(schema) === undefined) return;
  throw new VdbError("unexpected", `disable ${what} partition if partition key mode is used`);
}
