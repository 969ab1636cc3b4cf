/** Operations of a data node: jobs, given out by the coordinator. */
import { z } from "zod";
import { ObjectDoc, SegmentIndexDoc } from "./catalog.ts";
import { operation } from "./operation.ts";
import { FieldId, MetricName, SegmentId, Vchannel } from "./values.ts";

/** Builds one segment's index of one field. Asking again for a job that runs waits for the same run. */
export const buildIndex = operation("data.{nodeId}.build-index", {
  request: z.object({
    /** The coordinator's epoch: a result of an earlier epoch is never reused, since its object may have been collected. */
    epoch: z.int(),
    vchannel: Vchannel,
    segmentId: SegmentId,
    rowCount: z.int().min(1),
    object: ObjectDoc,
    fieldId: FieldId,
    dimension: z.int(),
    indexId: z.int(),
    type: z.string(),
    metric: MetricName,
    params: z.record(z.string(), z.union([z.string(), z.number(), z.boolean()])),
  }),
  reply: z.object({ index: SegmentIndexDoc, seconds: z.number() }),
  timeoutMs: 3_600_000,
  idempotent: true,
});
export type BuildIndex = z.infer<typeof buildIndex.request>;
