/** The progress of an import, as users see it: files first, then indexes and loading. */
import { hasIndexFile } from "../../runtime/index-files.ts";
import type { CollectionDoc, ImportDoc, ManifestDoc } from "../../runtime/protocol/catalog.ts";
import type { ImportState } from "../../runtime/protocol/coordinator.ts";
import type { ImportProgress } from "../../runtime/protocol/data.ts";
import { msOfTimestamp } from "../../runtime/timestamps.ts";

/** Percent reached when all files are read; the rest is for indexes and loading. */
const READ_PERCENT = 70;
/** Those that are reached when all indexes are built. */
const BUILT_PERCENT = 95;

/** @param progressOf of a file that is being read now */
export function stateOfImport(
  job: ImportDoc,
  progressOf: (file: number) => ImportProgress | undefined,
  {
    collection,
    manifests,
    limits,
  }: {
    collection: CollectionDoc | undefined;
    manifests: readonly ManifestDoc[];
    limits: { indexRowsMin: number };
  },
): ImportState {
  const { jobId, collectionId, collectionName, state, reason, createdAt, endedAtMs } = job;
  const files = job.files.map((file, i): ImportState["files"][number] => {
    const { name, rowCount, completedAtMs } = file;
    const running = state === "Failed" ? undefined : progressOf(i);
    const common = { name, bytes: file.bytes || (running?.bytes ?? 0), reason: file.reason ?? "" };
    if (file.reason !== undefined) return { ...common, state: "Failed", progress: 0, rows: 0, endedAtMs };
    if (rowCount !== undefined)
      return { ...common, state: "Completed", progress: 100, rows: rowCount, endedAtMs: completedAtMs };
    if (running === undefined) return { ...common, state: "Pending", progress: 0, rows: 0 };
    // A hundred percent means that it is done.
    const progress = Math.min(99, Math.floor(running.fraction * 100));
    return { ...common, state: "Importing", progress, rows: running.rows };
  });
  const weightOf = ({ bytes }: { bytes: number }) => Math.max(1, bytes);
  const all = files.reduce((sum, file) => sum + weightOf(file), 0);
  const read = files.reduce((sum, file) => sum + (weightOf(file) * file.progress) / 100, 0) / all;
  const progress =
    state === "Completed"
      ? 100
      : job.isEntered
        ? READ_PERCENT + (BUILT_PERCENT - READ_PERCENT) * builtShare(job, collection, manifests, limits)
        : READ_PERCENT * read;
  return {
    jobId,
    collectionId,
    collectionName,
    state,
    progress: Math.floor(progress),
    reason,
    createdAtMs: msOfTimestamp(createdAt),
    ...(endedAtMs === undefined ? {} : { endedAtMs }),
    files,
  };
}

/** How many of the index files that the job's segments are to have are there. */
function builtShare(
  { jobId }: ImportDoc,
  collection: CollectionDoc | undefined,
  manifests: readonly ManifestDoc[],
  { indexRowsMin }: { indexRowsMin: number },
): number {
  const entries = manifests.flatMap(({ imports = [] }) => imports.filter((entry) => entry.jobId === jobId));
  const segments = entries.flatMap((entry) => entry.segments).filter(({ rowCount }) => rowCount >= indexRowsMin);
  const files = collection?.indexes.filter((index) => hasIndexFile(collection, index)) ?? [];
  const wanted = segments.length * files.length;
  if (wanted === 0) return 1;
  return segments.reduce((sum, { indexes }) => sum + Object.keys(indexes).length, 0) / wanted;
}
