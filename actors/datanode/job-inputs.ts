/** What compaction reads: segments with every delete that the manifest knows, and deltas. */
import type { ActorContext } from "../../runtime/actor.ts";
import { VdbError } from "../../runtime/errors.ts";
import type { DeltaDoc, SegmentDoc } from "../../runtime/protocol/catalog.ts";
import { type CollectionSchema, primaryField } from "../../runtime/schema.ts";
import { defaultsOf } from "../../runtime/segment/default-columns.ts";
import { type DeletedKeys, readDeletedKeys } from "../../runtime/segment/delete-files.ts";
import { applyDeletedKeys, applyDeletedRows, readSegment } from "../../runtime/segment/read-segment.ts";
import type { Segment } from "../../runtime/segment/segment.ts";

export type JobTools = Pick<ActorContext, "blobs" | "clock" | "random" | "signal">;

/** All at once: how much there may be bounds the coordinator's plan. */
export async function readDeltas({ blobs }: JobTools, deltas: readonly DeltaDoc[]): Promise<DeletedKeys[]> {
  const parts: DeletedKeys[] = [];
  for (const { object } of deltas) parts.push(...readDeletedKeys(await blobs.get(object)));
  return parts;
}

/** The segment with its own deletes. @throws VdbError corrupt (also when an object is gone), unavailable, canceled */
export async function openSegment(tools: JobTools, schema: CollectionSchema, doc: SegmentDoc): Promise<Segment> {
  requireRunning(tools);
  const { blobs, clock } = tools;
  const segment = await readSegment(doc, primaryField(schema), await blobs.get(doc.object), clock);
  segment.complete(defaultsOf(schema));
  if (doc.deletes !== undefined) await applyDeletedRows(segment, await blobs.get(doc.deletes.object), clock);
  return segment;
}

export async function applyDeltas(tools: JobTools, segment: Segment, deltas: readonly DeletedKeys[]): Promise<void> {
  for (const part of deltas) {
    requireRunning(tools);
    await applyDeletedKeys(segment, part, tools.clock);
  }
}

/** @throws VdbError canceled */
export function requireRunning({ signal }: Pick<JobTools, "signal">): void {
  if (signal.aborted)
    throw new VdbError(
      "canceled",
      "the job is given up: its data node is stopping, or nobody can use its result any more",
    );
}
