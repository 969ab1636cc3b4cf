/**
 * Distributing a shard's deletes: every segment gets those that hit its rows among its own, so that the deltas that
 * brought them can go. One segment is in memory at a time.
 */
import type { DistributeDeletes, distributeDeletes } from "../../runtime/protocol/data.ts";
import type { CollectionSchema } from "../../runtime/schema.ts";
import { writeDeletedRows } from "../../runtime/segment/delete-files.ts";
import { applyDeltas, type JobTools, openSegment, readDeltas } from "./job-inputs.ts";

type Distributed = (typeof distributeDeletes.reply)["_output"];

export async function distributeShardDeletes(
  tools: JobTools,
  schema: CollectionSchema,
  job: DistributeDeletes,
): Promise<Distributed> {
  const { blobs, clock } = tools;
  const began = clock.monotonic();
  const deltas = await readDeltas(tools, job.deltas);
  const segments: Distributed["segments"] = [];
  for (const doc of job.segments) {
    const segment = await openSegment(tools, schema, doc);
    const before = segment.deletedCount;
    await applyDeltas(tools, segment, deltas);
    const change = { segmentId: doc.segmentId, fromSeq: doc.deletesSeq, throughSeq: job.deltaSeq };
    const deleted = segment.deletedCount === before ? null : segment.deletedRows();
    if (deleted === null) {
      segments.push(doc.deletes === undefined ? change : { ...change, deletes: doc.deletes });
      continue;
    }
    const name = `compacted/${job.vchannel}/${job.epoch}/${job.attempt}-${doc.segmentId}.arrow`;
    const object = await blobs.put(name, writeDeletedRows(deleted, clock));
    segments.push({ ...change, deletes: { object, rowCount: deleted.rows.length } });
  }
  return { segments, seconds: (clock.monotonic() - began) / 1000 };
}
