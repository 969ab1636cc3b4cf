/**
 * Makes imports visible: once the segments of a job are indexed in all shards and, as far as its collection is loaded,
 * can be read on query nodes, one commit moves them into the manifests' segments, names them in the views, and
 * completes the job. Reads see none of the rows before it, all of them after.
 */
import type { ActorContext } from "../../runtime/actor.ts";
import { asVdbError, isVdbError } from "../../runtime/errors.ts";
import { guardDoc, putDoc } from "../../runtime/meta/catalog.ts";
import { withImportSeen } from "../../runtime/meta/manifest.ts";
import type { MetaOp } from "../../runtime/meta/port.ts";
import { livePartitions, loadedPartitions } from "../../runtime/partitions.ts";
import { type ImportDoc, metaKeys } from "../../runtime/protocol/catalog.ts";
import type { Leadership } from "./leadership.ts";
import { hasAllIndexes } from "./place-staged.ts";

/** Where a segment can be read; undefined while it is not wherever it is to be. */
type CopiesOf = (vchannel: string, segmentId: string) => string[] | undefined;

/** What is not ready, or is changed by others meanwhile, is looked at again in the next step. */
export async function seeImports(ctx: ActorContext, leadership: Leadership, copiesOf: CopiesOf): Promise<void> {
  for (const job of ctx.catalog.importJobs()) {
    if (job.state !== "Importing" || !job.isEntered) continue;
    const ops = changesFor(ctx, job, copiesOf);
    if (ops === null) continue;
    try {
      if (await leadership.commit(ops)) ctx.logger.info({ job: job.jobId }, "import completed");
    } catch (error) {
      if (isVdbError(error, "canceled")) throw error;
      ctx.logger.warn({ job: job.jobId, error: asVdbError(error).message }, "import not completed yet");
    }
  }
}

/** Null while something of the job is not ready. */
function changesFor({ catalog, clock, config }: ActorContext, job: ImportDoc, copiesOf: CopiesOf): MetaOp[] | null {
  const { cache } = catalog;
  const collection = catalog.collection(job.collectionId);
  if (collection === undefined) return null;
  const served = loadedPartitions(collection);
  const ops: MetaOp[] = [];
  for (const { vchannel } of collection.shards) {
    const manifest = catalog.manifest(vchannel);
    const entry = manifest?.imports?.find(({ jobId }) => jobId === job.jobId);
    if (manifest === undefined || entry === undefined) continue;
    if (!hasAllIndexes(entry, collection, config.coordinator.indexRowsMin)) return null;
    ops.push(
      putDoc(cache, metaKeys.manifest(vchannel), withImportSeen(manifest, job.jobId, livePartitions(collection))),
    );
    const read = entry.segments.filter(({ partitionId }) => served.has(partitionId));
    if (read.length === 0) continue;
    const view = catalog.view(vchannel);
    // Its first view says that a shard is loaded; until then it is not for us to make one.
    if (view === undefined) return null;
    const segments = { ...view.segments };
    for (const { segmentId } of read) {
      const copies = copiesOf(vchannel, segmentId);
      if (copies === undefined) return null;
      segments[segmentId] = copies;
    }
    ops.push(putDoc(cache, metaKeys.view(vchannel), { ...view, version: view.version + 1, segments }));
  }
  // No entry: its shards were replaced meanwhile, which import-jobs.ts finds out.
  if (ops.length === 0) return null;
  const done: ImportDoc = { ...job, state: "Completed", endedAtMs: clock.now() };
  const guard = guardDoc(cache, metaKeys.collection(job.collectionId));
  return [putDoc(cache, metaKeys.importJob(job.jobId), done), ...ops, guard];
}
