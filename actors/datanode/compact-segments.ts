/**
 * Merge compaction: the live rows of some segments of one partition, as new segments. What is deleted by the manifest
 * that the job was made from, or has outlived its time, is left out.
 *
 * Rows keep their timestamps and come in the order of time, as in every segment (merge-inputs.ts); beside the inputs,
 * one chunk of the output is in memory. Where each segment is to hold a range of a field's values, rows are first split
 * by range (cluster-segments.ts).
 *
 * Several live rows of one key all stay: inserts do not check keys, and only a delete or an upsert removes a row.
 */
import type { CompactSegments, compactSegments } from "../../runtime/protocol/data.ts";
import type { CollectionSchema } from "../../runtime/schema.ts";
import { clusteredSegments } from "./cluster-segments.ts";
import { type JobTools, readDeltas } from "./job-inputs.ts";
import { Inputs } from "./merge-inputs.ts";
import { writeSegments } from "./write-segments.ts";

type Compacted = (typeof compactSegments.reply)["_output"];

export async function compactShardSegments(
  tools: JobTools,
  schema: CollectionSchema,
  job: CompactSegments,
): Promise<Compacted> {
  const { clock } = tools;
  const began = clock.monotonic();
  const deltas = await readDeltas(tools, job.deltas);
  const { segments, purgedTs } =
    job.clusterBy === undefined
      ? await mergedSegments(tools, schema, job, deltas)
      : await clusteredSegments(tools, schema, { ...job, clusterBy: job.clusterBy }, deltas);
  const seconds = (clock.monotonic() - began) / 1000;
  return purgedTs === 0n ? { segments, seconds } : { segments, purgedTs, seconds };
}

async function mergedSegments(
  tools: JobTools,
  schema: CollectionSchema,
  job: CompactSegments,
  deltas: Awaited<ReturnType<typeof readDeltas>>,
): Promise<{ segments: Compacted["segments"]; purgedTs: bigint }> {
  const inputs = new Inputs(tools, schema, job.segments, { deltas, expiry: job.expiry });
  const segments = await writeSegments(tools, schema, job, inputs.pieces());
  return { segments, purgedTs: inputs.purgedTs };
}
