/** Counts how far the segments of a collection have come. */
import { hasIndexFile } from "../index-files.ts";
import { loadedPartitions } from "../partitions.ts";
import type { CollectionDoc, ManifestDoc, ViewDoc } from "../protocol/catalog.ts";
import type { Catalog } from "./catalog.ts";

/** Each segment of the manifests counts in `flushed`, and in the others as far as it has come. */
export interface SegmentCounts {
  flushed: number;
  indexed: number;
  served: number;
  /** In a loaded partition, but not served. */
  unserved: number;
  bytes: number;
  /** Deleted rows are counted. */
  rows: number;
}

/** Documents do not change, so the counts of one are valid as long as it exists. */
const known = new WeakMap<
  ManifestDoc,
  { collection: CollectionDoc; view: ViewDoc | undefined; counts: SegmentCounts }
>();

export function noSegments(): SegmentCounts {
  return { flushed: 0, indexed: 0, served: 0, unserved: 0, bytes: 0, rows: 0 };
}

/** Adds a collection's counts to the sum. */
export function addSegments(sum: SegmentCounts, catalog: Catalog, collection: CollectionDoc): void {
  for (const { vchannel } of collection.shards) {
    const manifest = catalog.manifest(vchannel);
    if (manifest === undefined || manifest.segments.length === 0) continue;
    const counts = countIn(manifest, collection, catalog.view(vchannel));
    sum.flushed += counts.flushed;
    sum.indexed += counts.indexed;
    sum.served += counts.served;
    sum.unserved += counts.unserved;
    sum.bytes += counts.bytes;
    sum.rows += counts.rows;
  }
}

function countIn(manifest: ManifestDoc, collection: CollectionDoc, view: ViewDoc | undefined): SegmentCounts {
  const before = known.get(manifest);
  if (before !== undefined && before.collection === collection && before.view === view) return before.counts;
  const files = collection.indexes.filter((index) => hasIndexFile(collection, index));
  const loaded = loadedPartitions(collection);
  const counts = noSegments();
  for (const { segmentId, partitionId, rowCount, object, indexes } of manifest.segments) {
    counts.flushed++;
    counts.rows += rowCount;
    counts.bytes += object.bytes;
    if (files.length > 0 && files.every(({ fieldId, indexId }) => indexes[fieldId]?.indexId === indexId))
      counts.indexed++;
    if (view?.segments[segmentId] !== undefined) counts.served++;
    else if (loaded.has(partitionId)) counts.unserved++;
  }
  known.set(manifest, { collection, view, counts });
  return counts;
}
