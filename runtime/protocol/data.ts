/** Operations of a data node: jobs, given out by the coordinator. */
import { z } from "zod";
import { VECTOR_TYPES } from "../schema.ts";
import { DeltaDoc, ImportOptions, ObjectDoc, SegmentDoc, SegmentIndexDoc, WrittenSegment } from "./catalog.ts";
import { operation } from "./operation.ts";
import {
  CollectionId,
  FieldId,
  LogSequence,
  MetricName,
  PartitionId,
  SegmentId,
  Timestamp,
  Vchannel,
} from "./values.ts";
import { taking } from "./versions.ts";

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
    /** Absent: FloatVector. */
    vectorType: z.enum(VECTOR_TYPES).optional(),
    /** Rows may have no vector, all of them where the segment is older than the field. Absent: each has one. */
    isNullable: z.boolean().optional(),
    indexId: z.int(),
    type: z.string(),
    metric: MetricName,
    params: z.record(z.string(), z.union([z.string(), z.number(), z.boolean()])),
  }),
  reply: z.object({ index: SegmentIndexDoc, seconds: z.number() }),
  takes: ({ isNullable }) => taking(isNullable, 2),
  timeoutMs: 3_600_000,
  idempotent: true,
});
export type BuildIndex = z.infer<typeof buildIndex.request>;

/** Compaction of a shard, as of one manifest. Asking again for an attempt that runs waits for the same run. */
const Compaction = {
  /** The coordinator's epoch: it alone may enter the result. */
  epoch: z.int(),
  /** Names the objects that are made; new with every attempt, so that none is taken for another's. */
  attempt: z.string().regex(/^\w+$/),
  collectionId: CollectionId,
  vchannel: Vchannel,
  /** The least schema version to work with: the segments may have columns of fields that an older one does not know. */
  schemaVersion: z.int().optional(),
  /** With their own deletes, as the manifest has them. */
  segments: z.array(SegmentDoc).min(1),
  /** The manifest's deltas that one of the segments lacks. */
  deltas: z.array(DeltaDoc),
  /** The manifest's deltaSeq: with the deltas, the segments have every delete up to it. */
  deltaSeq: LogSequence,
};

/**
 * Rewrites the live rows of segments of one partition as segments of about targetBytes, each in the order of time: cut
 * by time, or each holding a range of a field's values.
 */
export const compactSegments = operation("data.{nodeId}.compact", {
  request: z.object({
    ...Compaction,
    targetBytes: z.int().min(1),
    /** The field by whose values rows are laid out: each segment gets a range of them, and names the field. */
    clusterBy: FieldId.optional(),
    /** Rows from before beforeTs have expired, as seen at nowTs. */
    expiry: z.object({ beforeTs: Timestamp, nowTs: Timestamp }).optional(),
  }),
  takes: ({ clusterBy }) => taking(clusterBy !== undefined, 2),
  reply: z.object({
    segments: z.array(SegmentDoc),
    /** Timestamp up to which deletes or age took rows away; absent: no row was left out. */
    purgedTs: Timestamp.optional(),
    seconds: z.number(),
  }),
  timeoutMs: 3_600_000,
  idempotent: true,
});
export type CompactSegments = z.infer<typeof compactSegments.request>;

/** Rewrites each segment's own deletes: those that it has, and those of the deltas that hit its rows. */
export const distributeDeletes = operation("data.{nodeId}.distribute-deletes", {
  request: z.object(Compaction),
  reply: z.object({
    segments: z.array(
      z.object({
        segmentId: SegmentId,
        /** The segment's `deletesSeq` when the job was given out, and now. */
        fromSeq: LogSequence,
        throughSeq: LogSequence,
        deletes: z.object({ object: ObjectDoc, rowCount: z.int().min(1) }).optional(),
      }),
    ),
    seconds: z.number(),
  }),
  timeoutMs: 3_600_000,
  idempotent: true,
});
export type DistributeDeletes = z.infer<typeof distributeDeletes.request>;

/** Reads one file of an import and writes its rows as segments. Asking again for an attempt that runs waits for the same run. */
export const importFile = operation("data.{nodeId}.import", {
  request: z.object({
    /** The coordinator's epoch: it alone may enter the result. */
    epoch: z.int(),
    /** Names the objects that are made; new with every attempt, so that none is taken for another's. */
    attempt: z.string().regex(/^\w+$/),
    jobId: z.int(),
    collectionId: CollectionId,
    /** The collection's first: when it is gone, so is the collection. */
    vchannel: Vchannel,
    /** As the user named it: for messages. */
    name: z.string(),
    /** An upload; absent: the file `name` below `data.importDir`. */
    object: ObjectDoc.optional(),
    /** Absent: where the rows' partition key says. */
    partitionId: PartitionId.optional(),
    options: ImportOptions,
    /** Segments of about this size. */
    targetBytes: z.int().min(1),
    /** What the files' timestamp column says; the segment document's `rowTs` is what counts. */
    ts: Timestamp,
  }),
  reply: z.object({
    segments: z.array(WrittenSegment),
    rowCount: z.int(),
    /** Of the file. */
    bytes: z.number(),
    seconds: z.number(),
  }),
  timeoutMs: 6 * 3_600_000,
  idempotent: true,
});
export type ImportFile = z.infer<typeof importFile.request>;
export type ImportedFile = z.infer<typeof importFile.reply>;

/** How far the node has read a file of an import; nothing for an attempt that it has not begun. */
export const importProgress = operation("data.{nodeId}.import-progress", {
  request: z.object({ attempts: z.array(z.string()).max(1024) }),
  reply: z.object({
    attempts: z.record(z.string(), z.object({ rows: z.int(), fraction: z.number().min(0).max(1), bytes: z.number() })),
  }),
  timeoutMs: 1_000,
  idempotent: true,
});
export type ImportProgress = z.infer<typeof importProgress.reply>["attempts"][string];
