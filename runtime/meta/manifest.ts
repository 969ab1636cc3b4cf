/**
 * Facts about manifests, and changes that keep their rules. Every function takes a manifest and returns another one (or a
 * fact). The caller commits it by compare-and-set, and on conflict applies the change again to the newer manifest.
 *
 * Invariants
 *   F1. A segment lacks no delete: each one up to `deltaSeq` is among its own, hits none of its rows, or is in a delta.
 *   F2. `coveredSeq` never goes back: a reader may forget deletes up to there for good.
 */
import type { ImportedDoc, ManifestDoc, SegmentDoc, StagedDoc } from "../protocol/catalog.ts";

/** All segments that have objects: the shard's own, those staged to replace some, and imported ones. */
export function allSegments(manifest: ManifestDoc): SegmentDoc[] {
  const { segments, staged, imports = [] } = manifest;
  if (staged.length === 0 && imports.length === 0) return segments;
  return [...segments, ...comingSegments(manifest)];
}

/** The segments that no read sees yet. */
export function comingSegments({ staged, imports = [] }: ManifestDoc): SegmentDoc[] {
  return [...staged, ...imports].flatMap(({ segments }) => segments);
}

/** Orders segments by their first rows. */
export function byTime(segments: readonly SegmentDoc[]): SegmentDoc[] {
  return [...segments].sort((a, b) => (a.minTs < b.minTs ? -1 : a.minTs > b.minTs ? 1 : 0));
}

export function findSegment(manifest: ManifestDoc, segmentId: string): SegmentDoc | undefined {
  return allSegments(manifest).find((segment) => segment.segmentId === segmentId);
}

/** Changes every segment, staged ones too. */
export function mapSegments(manifest: ManifestDoc, change: (segment: SegmentDoc) => SegmentDoc): ManifestDoc {
  return {
    ...manifest,
    segments: manifest.segments.map(change),
    staged: manifest.staged.map((entry) => ({ ...entry, segments: entry.segments.map(change) })),
    ...(manifest.imports === undefined
      ? {}
      : { imports: manifest.imports.map((entry) => ({ ...entry, segments: entry.segments.map(change) })) }),
  };
}

/** Names of the objects of a segment. */
export function segmentObjects({ object, deletes, indexes }: SegmentDoc): string[] {
  const names = [object.name, ...Object.values(indexes).map((index) => index.object.name)];
  return deletes === undefined ? names : [...names, deletes.object.name];
}

/** Names of every object that the manifest names. */
export function objectNames(manifest: ManifestDoc): Set<string> {
  const names = new Set(allSegments(manifest).flatMap(segmentObjects));
  for (const { object } of manifest.deltas) names.add(object.name);
  if (manifest.requests !== undefined) names.add(manifest.requests.name);
  return names;
}

/** Removes everything of a dropped partition. */
export function withoutPartition(manifest: ManifestDoc, partitionId: number): ManifestDoc {
  const isKept = (segment: SegmentDoc) => segment.partitionId !== partitionId;
  const gone = new Set(manifest.segments.filter((segment) => !isKept(segment)).map(({ segmentId }) => segmentId));
  const { [String(partitionId)]: _, ...flushed } = manifest.flushed;
  return withoutCoveredDeltas({
    ...manifest,
    segments: manifest.segments.filter(isKept),
    // Replacements of a partition's segments belong to that partition.
    staged: manifest.staged.filter(({ replaces }) => !replaces.some((segmentId) => gone.has(segmentId))),
    ...(manifest.imports === undefined
      ? {}
      : { imports: manifest.imports.map((entry) => ({ ...entry, segments: entry.segments.filter(isKept) })) }),
    flushed,
  });
}

/** Rows of a partition up to this log sequence are in segments, or were until compaction. */
export function flushedSeqOf(manifest: ManifestDoc, partitionId: number): number {
  return manifest.flushed[String(partitionId)] ?? manifest.flushedSeq;
}

/** Every segment has the deletes up to this log sequence among its own: nobody needs them from a delta or the log any more. */
export function coveredSeq(manifest: ManifestDoc): number {
  let seq = manifest.deltaSeq;
  for (const { deletesSeq } of allSegments(manifest)) if (deletesSeq < seq) seq = deletesSeq;
  return seq;
}

/** Removes the deltas that no segment needs any more. */
export function withoutCoveredDeltas(manifest: ManifestDoc): ManifestDoc {
  const covered = coveredSeq(manifest);
  const deltas = manifest.deltas.filter(({ throughSeq }) => throughSeq > covered);
  return deltas.length === manifest.deltas.length ? manifest : { ...manifest, deltas };
}

/** The deltas whose deletes a segment does not have among its own yet. */
export function deltasAfter(manifest: ManifestDoc, deletesSeq: number): ManifestDoc["deltas"] {
  return manifest.deltas.filter(({ throughSeq }) => throughSeq > deletesSeq);
}

/** The own deletes of segments, as written for a manifest. */
export interface NewDeletes {
  segmentId: string;
  /** The segment's `deletesSeq` before and after. */
  fromSeq: number;
  throughSeq: number;
  /** Absent: none of its rows is deleted. */
  deletes?: SegmentDoc["deletes"];
}

/** Enters the own deletes of segments if they still follow what the segment has, and drops the deltas that are then covered. */
export function withDeletes(manifest: ManifestDoc, changes: readonly NewDeletes[]): ManifestDoc {
  const byId = new Map(changes.map((change) => [change.segmentId, change]));
  const update = (segment: SegmentDoc): SegmentDoc => {
    const change = byId.get(segment.segmentId);
    if (change === undefined || change.fromSeq !== segment.deletesSeq) return segment;
    const { deletes: _, ...rest } = segment;
    const deletes = change.deletes === undefined ? {} : { deletes: change.deletes };
    return { ...rest, ...deletes, deletesSeq: change.throughSeq };
  };
  return withoutCoveredDeltas(mapSegments(manifest, update));
}

/**
 * Stages segments to replace others. Null when they no longer may: one of the others is gone, is already being replaced, or has
 * own deletes that the new ones lack (the deltas that brought them may be gone).
 */
export function withStaged(manifest: ManifestDoc, entry: StagedDoc): ManifestDoc | null {
  const replaced = new Set(manifest.staged.flatMap(({ replaces }) => replaces));
  for (const segmentId of entry.replaces) {
    const segment = manifest.segments.find((candidate) => candidate.segmentId === segmentId);
    if (segment === undefined || replaced.has(segmentId)) return null;
    if (entry.segments.some(({ deletesSeq }) => deletesSeq < segment.deletesSeq)) return null;
  }
  return { ...manifest, staged: [...manifest.staged, entry] };
}

/** Replaces segments by the staged ones; drops the entry if there is nothing left to replace. */
export function withSwapped(manifest: ManifestDoc, entry: StagedDoc): ManifestDoc {
  const staged = manifest.staged.filter((other) => !isSameEntry(other, entry));
  const known = new Set(manifest.segments.map(({ segmentId }) => segmentId));
  if (!entry.replaces.every((segmentId) => known.has(segmentId))) return withoutCoveredDeltas({ ...manifest, staged });
  const current = manifest.staged.find((other) => isSameEntry(other, entry)) ?? entry;
  const replaced = new Set(entry.replaces);
  const segments = [...manifest.segments.filter(({ segmentId }) => !replaced.has(segmentId)), ...current.segments];
  const purgedTs = [manifest.purgedTs ?? 0n, current.purgedTs ?? 0n].reduce((a, b) => (a > b ? a : b));
  return withoutCoveredDeltas({ ...manifest, ...(purgedTs === 0n ? {} : { purgedTs }), segments, staged });
}

/** Removes the staged replacement of some segments, which stay. Null if it is not there any more. */
export function withoutStaged(manifest: ManifestDoc, entry: StagedDoc): ManifestDoc | null {
  const staged = manifest.staged.filter((other) => !isSameEntry(other, entry));
  return staged.length === manifest.staged.length ? null : withoutCoveredDeltas({ ...manifest, staged });
}

/** At most one entry replaces a segment, so the first of its segments identifies it. */
function isSameEntry(a: StagedDoc, b: StagedDoc): boolean {
  return a.replaces[0] === b.replaces[0];
}

/** Enters imported segments. Their rows have a timestamp from after the manifest was read: no delete up to `deltaSeq` hits them. */
export function withImport(manifest: ManifestDoc, entry: ImportedDoc): ManifestDoc {
  return { ...manifest, imports: [...(manifest.imports ?? []), entry] };
}

/** The greatest timestamp of rows that did not come through the log; 0: there are none. */
export function newestRowTs(manifest: ManifestDoc): bigint {
  let newest = 0n;
  for (const { rowTs = 0n } of allSegments(manifest)) if (rowTs > newest) newest = rowTs;
  return newest;
}

/** Makes an import's segments visible to reads, except those of partitions that have been dropped. */
export function withImportSeen(manifest: ManifestDoc, jobId: number, partitions: ReadonlySet<number>): ManifestDoc {
  const { imports = [], ...rest } = manifest;
  const own = imports.filter((entry) => entry.jobId === jobId).flatMap(({ segments }) => segments);
  const seen = own.filter(({ partitionId }) => partitions.has(partitionId));
  const left = imports.filter((entry) => entry.jobId !== jobId);
  return { ...rest, segments: [...rest.segments, ...seen], ...(left.length === 0 ? {} : { imports: left }) };
}
