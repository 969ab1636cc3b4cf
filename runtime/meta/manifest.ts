/**
 * What a manifest says, and the changes of it that keep its rules. Every function takes a manifest and gives another one
 * (or a fact): whoever commits does so by compare-and-set, and applies the change again to a newer manifest on conflict.
 *
 * Invariants
 *   F1. A segment lacks no delete: each one up to `deltaSeq` is among its own, hits none of its rows, or is in a delta.
 *   F2. `coveredSeq` never goes back: a reader may forget deletes up to there for good.
 */
import type { ImportedDoc, ManifestDoc, SegmentDoc, StagedDoc } from "../protocol/catalog.ts";

/** All segments that have objects: those that the shard consists of, those staged to replace some, and imported ones. */
export function allSegments(manifest: ManifestDoc): SegmentDoc[] {
  const { segments, staged, imports = [] } = manifest;
  if (staged.length === 0 && imports.length === 0) return segments;
  return [...segments, ...comingSegments(manifest)];
}

/** Those that no read sees yet. */
export function comingSegments({ staged, imports = [] }: ManifestDoc): SegmentDoc[] {
  return [...staged, ...imports].flatMap(({ segments }) => segments);
}

export function findSegment(manifest: ManifestDoc, segmentId: string): SegmentDoc | undefined {
  return allSegments(manifest).find((segment) => segment.segmentId === segmentId);
}

/** With every segment changed, the staged ones too. */
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

/** Without anything of a partition that was dropped. */
export function withoutPartition(manifest: ManifestDoc, partitionId: number): ManifestDoc {
  const isKept = (segment: SegmentDoc) => segment.partitionId !== partitionId;
  const gone = new Set(manifest.segments.filter((segment) => !isKept(segment)).map(({ segmentId }) => segmentId));
  const { [String(partitionId)]: _, ...flushed } = manifest.flushed;
  return withoutCoveredDeltas({
    ...manifest,
    segments: manifest.segments.filter(isKept),
    // What replaces segments of a partition is of that partition.
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

/** Every segment has the deletes up to this log sequence among its own: nobody needs them from elsewhere. */
export function coveredSeq(manifest: ManifestDoc): number {
  let seq = manifest.deltaSeq;
  for (const { deletesSeq } of allSegments(manifest)) if (deletesSeq < seq) seq = deletesSeq;
  return seq;
}

/** Without the deltas that no segment needs any more. */
export function withoutCoveredDeltas(manifest: ManifestDoc): ManifestDoc {
  const covered = coveredSeq(manifest);
  const deltas = manifest.deltas.filter(({ throughSeq }) => throughSeq > covered);
  return deltas.length === manifest.deltas.length ? manifest : { ...manifest, deltas };
}

/** The deltas that a segment has not among its own deletes yet. */
export function deltasAfter(manifest: ManifestDoc, deletesSeq: number): ManifestDoc["deltas"] {
  return manifest.deltas.filter(({ throughSeq }) => throughSeq > deletesSeq);
}

/** Segments' own deletes, as they were written out from a manifest. */
export interface NewDeletes {
  segmentId: string;
  /** What the segment's `deletesSeq` was, and what it is now. */
  fromSeq: number;
  throughSeq: number;
  /** Absent: none of its rows is deleted. */
  deletes?: SegmentDoc["deletes"];
}

/** Enters segments' own deletes where they still follow what the segment has, and drops the deltas that this covers. */
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
 * Stages segments to replace others. Null when they no longer may: one of the others has gone, is replaced already, or
 * has deletes of its own that the new ones lack (the deltas that brought them may be gone).
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

/** Puts staged segments in the place of those that they replace; drops the entry when there is nothing to replace any more. */
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

/** A segment is replaced by one entry at most: its first one names it. */
function isSameEntry(a: StagedDoc, b: StagedDoc): boolean {
  return a.replaces[0] === b.replaces[0];
}

/** Enters imported segments. Their rows have a timestamp from after the manifest was read: no delete up to `deltaSeq` hits them. */
export function withImport(manifest: ManifestDoc, entry: ImportedDoc): ManifestDoc {
  return { ...manifest, imports: [...(manifest.imports ?? []), entry] };
}

/** The greatest timestamp that rows got otherwise than by being written to the log; 0: none did. */
export function newestRowTs(manifest: ManifestDoc): bigint {
  let newest = 0n;
  for (const { rowTs = 0n } of allSegments(manifest)) if (rowTs > newest) newest = rowTs;
  return newest;
}

/** Makes an import's segments ones that reads see, but those of partitions that have been dropped. */
export function withImportSeen(manifest: ManifestDoc, jobId: number, partitions: ReadonlySet<number>): ManifestDoc {
  const { imports = [], ...rest } = manifest;
  const own = imports.filter((entry) => entry.jobId === jobId).flatMap(({ segments }) => segments);
  const seen = own.filter(({ partitionId }) => partitions.has(partitionId));
  const left = imports.filter((entry) => entry.jobId !== jobId);
  return { ...rest, segments: [...rest.segments, ...seen], ...(left.length === 0 ? {} : { imports: left }) };
}
