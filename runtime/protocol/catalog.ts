/**
 * What the meta store holds: one schema a key, validated when read. Keys are subjects below the bucket; arbitrary
 * names are base64url, because a name may hold what a subject token may not.
 */
import { z } from "zod";
import { VdbError } from "../errors.ts";
import { type FieldSchema, SCALAR_TYPES, VECTOR_TYPES } from "../schema.ts";
import { decode, encode } from "./codec.ts";
import { NodeLease } from "./node.ts";
import { REFUSED, readShape } from "./shape-reader.ts";
import {
  CollectionId,
  FieldId,
  LogSequence,
  MetricName,
  NodeId,
  PartitionId,
  Pchannel,
  SegmentId,
  Timestamp,
  Vchannel,
} from "./values.ts";

/**
 * A document, or a part of one. Fields that only a newer version knows are kept, so that an older node that changes the
 * rest during a rolling upgrade loses nothing.
 */
function part<Shape extends z.ZodRawShape>(shape: Shape): z.ZodObject<Shape> {
  return z.looseObject(shape) as unknown as z.ZodObject<Shape>;
}

const Scalar = z.union([z.boolean(), z.number(), z.bigint(), z.string()]);
const ScalarTypeName = z.enum(SCALAR_TYPES);

/** A field as requested; the coordinator gives it its id. */
export const FieldSchemaSpec = part({
  name: z.string(),
  type: z.union([ScalarTypeName, z.literal(["Array", "Geometry"]), z.enum(VECTOR_TYPES)]),
  description: z.string(),
  isPrimary: z.boolean(),
  nullable: z.boolean(),
  defaultValue: Scalar.optional(),
  maxLength: z.int().optional(),
  maxCapacity: z.int().optional(),
  elementType: ScalarTypeName.exclude(["JSON", "Timestamptz"]).optional(),
  dimension: z.int().optional(),
  isDynamic: z.boolean(),
  isPartitionKey: z.boolean().optional(),
  isClusteringKey: z.boolean().optional(),
  enableAnalyzer: z.boolean().optional(),
  enableMatch: z.boolean().optional(),
  analyzerParams: z.string().optional(),
  multiAnalyzerParams: z.string().optional(),
  isFunctionOutput: z.boolean().optional(),
  mmapEnabled: z.boolean().optional(),
}) as z.ZodType<Omit<FieldSchema, "fieldId">>;

const Field = z.intersection(FieldSchemaSpec, z.object({ fieldId: FieldId })) as unknown as z.ZodType<FieldSchema>;

export const FunctionSpec = part({
  functionId: z.int().min(1),
  name: z.string(),
  type: z.literal("BM25"),
  description: z.string(),
  inputFieldIds: z.array(FieldId),
  outputFieldIds: z.array(FieldId),
  params: z.record(z.string(), z.string()),
});

/** An index as the user asked for it: names and parameters are echoed by describe. */
export const IndexSpecRequest = part({
  name: z.string(),
  fieldId: FieldId,
  type: z.string(),
  metric: MetricName,
  params: z.record(z.string(), z.union([z.string(), z.number(), z.boolean()])),
});

export const IndexDefinition = IndexSpecRequest.extend({
  indexId: z.int().min(1),
  /** As alter_properties set them; they do not change the index itself. */
  properties: z.record(z.string(), z.string()).optional(),
});
export type IndexDefinition = z.infer<typeof IndexDefinition>;

/** Format of everything stored. A newer version raises it once no node of an older one runs any more. */
const CLUSTER_FORMAT = 1;

export const ClusterDoc = part({
  format: z.literal(CLUSTER_FORMAT),
  clusterId: z.string(),
  walChannels: z.int().min(1).max(1024),
});
export type ClusterDoc = z.infer<typeof ClusterDoc>;

export const EpochDoc = part({
  epoch: z.int(),
  nodeId: NodeId,
  /** Whether this leader keeps the list of live nodes (MembersDoc); absent: its version does not. */
  keepsMembers: z.boolean().optional(),
});
export type EpochDoc = z.infer<typeof EpochDoc>;

/**
 * The live nodes as the leader sees their leases, so that the others need not hear of every renewal. Written when a node
 * comes, goes, or begins or ends draining: of `state` it has only what does not change.
 */
export const MembersDoc = part({
  /** Epoch of the leader that wrote it: a list left over from before a leader that kept none may be out of date. */
  epoch: z.int().optional(),
  nodes: z.array(part(NodeLease.shape)),
});
export type MembersDoc = z.infer<typeof MembersDoc>;

/** Upper bound of the numbers handed out: nothing at or above it was ever used. */
export const WindowDoc = part({ bound: Timestamp });
export type WindowDoc = z.infer<typeof WindowDoc>;

export const ChannelDoc = part({ nodeId: NodeId, term: z.int().min(1) });
export type ChannelDoc = z.infer<typeof ChannelDoc>;

/**
 * Where a new owner of the pchannel would begin to replay: everything up to seq is in objects. Written by the owner.
 */
export const CheckpointDoc = part({ seq: LogSequence, term: z.int().min(0) });
export type CheckpointDoc = z.infer<typeof CheckpointDoc>;

/** A database other than the default one, or the default one once it has properties. */
export const DatabaseDoc = part({
  databaseId: z.int().min(1),
  name: z.string(),
  properties: z.record(z.string(), z.string()),
  createdAt: Timestamp,
});
export type DatabaseDoc = z.infer<typeof DatabaseDoc>;

/** What a name stands for: a collection's own name, or one of its aliases. */
export const NameDoc = part({ collectionId: CollectionId });
export type NameDoc = z.infer<typeof NameDoc>;

export const CollectionDoc = part({
  collectionId: CollectionId,
  database: z.string(),
  name: z.string(),
  /** Further names of the collection, in the same database; each has a NameDoc as well. */
  aliases: z.array(z.string()).optional(),
  description: z.string(),
  schema: part({
    version: z.int(),
    fields: z.array(Field),
    autoId: z.boolean(),
    enableDynamicField: z.boolean(),
    functions: z.array(FunctionSpec).optional(),
    lastFieldId: FieldId.optional(),
  }),
  partitions: z.array(part({ partitionId: PartitionId, name: z.string() })),
  shards: z.array(part({ vchannel: Vchannel, pchannel: Pchannel })),
  indexes: z.array(IndexDefinition),
  /** Absent while released. */
  loaded: part({
    replicaNumber: z.int().min(1),
    /** The resource group of each replica; absent: all are in the default one. */
    resourceGroups: z.array(z.string()).optional(),
    /** The partitions that are served; absent: all, including later ones. */
    partitionIds: z.array(PartitionId).optional(),
    /** Ids of the fields that the load asked for; absent: all. All are served in any case. */
    fieldIds: z.array(FieldId).optional(),
  }).optional(),
  consistencyLevel: z.enum(["Strong", "Session", "Bounded", "Eventually"]),
  properties: z.record(z.string(), z.string()),
  createdAt: Timestamp,
  /** Ids of the requests that truncated it, newest last: one that is repeated late must not remove newer rows. */
  truncatedBy: z.array(z.string()).optional(),
});
export type CollectionDoc = z.infer<typeof CollectionDoc>;

/** A shard of a collection, and where its log is. */
export type ShardRef = CollectionDoc["shards"][number];

export const ObjectDoc = part({ name: z.string(), bytes: z.number(), digest: z.string() });

export const SegmentIndexDoc = part({
  indexId: z.int(),
  object: ObjectDoc,
  /** What the engine needs to open the file. */
  type: z.string(),
  metric: MetricName,
  params: z.record(z.string(), z.number()),
  /** Rows in the index, where it does not have all of the segment's: those that have a vector. 0: so few that they are scanned; the file is empty. */
  rows: z.int().min(0).optional(),
});
export type SegmentIndexDoc = z.infer<typeof SegmentIndexDoc>;

/** What a segment holds of some fields, as written (runtime/scalar-index/segment-bounds.ts). */
const BoundsDoc = part({
  min: z.union([z.number(), z.string()]).optional(),
  max: z.union([z.number(), z.string()]).optional(),
  isMaxCut: z.boolean().optional(),
  nulls: z.int().min(0),
});

export const SegmentDoc = part({
  segmentId: SegmentId,
  partitionId: PartitionId,
  rowCount: z.int().min(1),
  minTs: Timestamp,
  maxTs: Timestamp,
  /** Every row has this timestamp, whatever the file says: imported rows get theirs when all of them are in objects. */
  rowTs: Timestamp.optional(),
  object: ObjectDoc,
  /** By field id. */
  indexes: z.record(z.string(), SegmentIndexDoc),
  /** Deletes up to this log sequence are in `deletes`, or in no row of the segment: the shard's deltas up to here do not concern it. */
  deletesSeq: LogSequence.default(0),
  /** Rows of the segment that have been deleted, with when. */
  deletes: part({ object: ObjectDoc, rowCount: z.int().min(1) }).optional(),
  /** By field id; nothing is known of a field that is absent. */
  bounds: z.record(z.string(), BoundsDoc).optional(),
  /** Vector fields of which some row has a vector; absent: it may be any. Files made from these rows need no columns of the others. */
  vectorFields: z.array(FieldId).optional(),
  /** The clustering key by which the segment was laid out: it holds a range of its values, and is merged only with others laid out by it. */
  clusteredBy: FieldId.optional(),
});
export type SegmentDoc = z.infer<typeof SegmentDoc>;

/**
 * Segments on their way to replace others of the same partition, made by compaction. Their objects are there; indexes
 * enter as they are built; when they are served (or nothing is loaded) one commit swaps them for what they replace.
 */
export const StagedDoc = part({
  replaces: z.array(SegmentId).min(1),
  /** None, when no row was left. */
  segments: z.array(SegmentDoc),
  /** Rows that a delete or their age removed at timestamps up to this one have been left out. Absent: none were. */
  purgedTs: Timestamp.optional(),
});
export type StagedDoc = z.infer<typeof StagedDoc>;

/**
 * Segments of an import on their way to be seen: entered with their timestamp when all of the import is in objects. Indexes
 * enter as they are built; when those of all shards are served (or nothing is loaded) one commit moves them to `segments`.
 */
export const ImportedDoc = part({ jobId: z.int().min(1), segments: z.array(SegmentDoc) });
export type ImportedDoc = z.infer<typeof ImportedDoc>;

/** Deletes of a shard in one object: keys, with when. */
export const DeltaDoc = part({
  object: ObjectDoc,
  rowCount: z.int(),
  throughSeq: LogSequence,
  /** Timestamp of its newest delete. */
  throughTs: Timestamp.default(0n),
});
export type DeltaDoc = z.infer<typeof DeltaDoc>;

/**
 * A shard's manifest: what of it is in objects. A flush, an index swap, a compaction is one change of it. A flush is
 * committed under a guard on the channel's key, so an owner that has been replaced cannot change it any more.
 */
export const ManifestDoc = part({
  collectionId: CollectionId,
  vchannel: Vchannel,
  pchannel: Pchannel,
  segments: z.array(SegmentDoc),
  staged: z.array(StagedDoc).default([]),
  /** Absent: none. */
  imports: z.array(ImportedDoc).optional(),
  /** Rows of a partition up to this log sequence are in segments; replay skips them. By partition id; absent: `flushedSeq`. */
  flushed: z.record(z.string(), LogSequence),
  /** Everything of this shard before it is in objects, in every partition: where the shard began, or was last flushed whole. */
  flushedSeq: LogSequence,
  /** Deletes up to this log sequence are in deltas, or in the segments' own deletes. */
  deltaSeq: LogSequence,
  /** Deletes that some segment does not have among its own yet, oldest first; each is removed when the `deletesSeq` of every segment reaches it. */
  deltas: z.array(DeltaDoc),
  /** The newest request ids applied before the flush, so that a retry is recognised also after replay no longer sees them. */
  requests: ObjectDoc.optional(),
  /** Everything with a timestamp up to this one is in objects, and whatever is written from now on gets a greater one. */
  settledTs: Timestamp.optional(),
  /**
   * A read below this timestamp is no longer possible, since compaction has removed rows that it would see: the
   * greatest `purgedTs` swapped in.
   */
  purgedTs: Timestamp.optional(),
});
export type ManifestDoc = z.infer<typeof ManifestDoc>;

/** The query view of a shard: which sealed segments are served, and where. Absent: not loaded yet. */
export const ViewDoc = part({
  version: z.int().min(1),
  /** Segment id to the query nodes that have loaded it. */
  segments: z.record(z.string(), z.array(NodeId).min(1)),
});
export type ViewDoc = z.infer<typeof ViewDoc>;

/** A resource group other than the default one: how many query nodes it asks for, and which it has been given. */
export const ResourceGroupDoc = part({
  name: z.string(),
  /** Fewer than this are made up for from other groups. */
  requests: z.int().min(0),
  /** More than this are given back. */
  limits: z.int().min(0),
  /** Groups that lend what they have beyond their own requests, before the default one is asked. */
  transferFrom: z.array(z.string()),
  /** Groups that are offered what is beyond the limits, before the default one gets it. */
  transferTo: z.array(z.string()),
  /** Those whose configuration names the group are in it without being listed. */
  nodeIds: z.array(NodeId),
});
export type ResourceGroupDoc = z.infer<typeof ResourceGroupDoc>;

/** A manual compaction: it is about what there was when it was asked for. */
export const CompactionDoc = part({
  compactionId: z.int().min(1),
  collectionId: CollectionId,
  askedAt: Timestamp,
  /** By vchannel: the segments at that time, and the log sequence up to which deletes were in objects. */
  shards: z.record(z.string(), part({ segmentIds: z.array(SegmentId), deltaSeq: LogSequence })),
  /** Everything from before the request is to be laid out by the clustering key; `shards` then means nothing. */
  isClustering: z.boolean().optional(),
  /** Steps that there were to do. */
  plans: z.int().min(0),
  /** Steps whose result could not be served: what they were to replace is left as it is. */
  givenUp: z.array(part({ vchannel: Vchannel, segmentIds: z.array(SegmentId), reason: z.string() })).optional(),
  isCompleted: z.boolean(),
});
export type CompactionDoc = z.infer<typeof CompactionDoc>;

/** A segment that an import has written and no manifest names yet. */
export const WrittenSegment = part({
  vchannel: Vchannel,
  segmentId: SegmentId,
  partitionId: PartitionId,
  rowCount: z.int().min(1),
  object: ObjectDoc,
});
export type WrittenSegment = z.infer<typeof WrittenSegment>;

/** One file of an import. */
export const ImportFileDoc = part({
  /** As it was named in the request. */
  name: z.string(),
  /** An upload; absent: a path below the data nodes' `data.importDir`. */
  object: ObjectDoc.optional(),
  bytes: z.number(),
  /** Rows of the file, once all of them are in objects. */
  rowCount: z.int().min(0).optional(),
  /** Milliseconds since 1970. */
  completedAtMs: z.number().optional(),
  /** Until they are entered into the manifests. */
  segments: z.array(WrittenSegment),
  reason: z.string().optional(),
});
export type ImportFileDoc = z.infer<typeof ImportFileDoc>;

export const ImportOptions = part({
  /** Of CSV: between two cells, and the text that stands for null. */
  separator: z.string().length(1),
  nullText: z.string(),
  /** The job fails when its rows are not in objects this long after it was made. */
  timeoutMs: z.int().min(1).optional(),
});
export type ImportOptions = z.infer<typeof ImportOptions>;

/** A bulk import: its rows become visible all at once, or never. */
export const ImportDoc = part({
  jobId: z.int().min(1),
  collectionId: CollectionId,
  database: z.string(),
  collectionName: z.string(),
  /** Absent: rows go where their partition key says. */
  partitionId: PartitionId.optional(),
  /** Of who asked for it: the same request sent again is this job. */
  requestId: z.string().optional(),
  createdAt: Timestamp,
  options: ImportOptions,
  state: z.enum(["Pending", "Importing", "Completed", "Failed"]),
  /** Whether its segments are in the manifests. */
  isEntered: z.boolean(),
  files: z.array(ImportFileDoc).min(1),
  reason: z.string(),
  /** Milliseconds since 1970, of the end. */
  endedAtMs: z.number().optional(),
});
export type ImportDoc = z.infer<typeof ImportDoc>;

/** A user. `root` has no document, and the configured password, until its password is changed or it gets roles. */
export const UserDoc = part({
  name: z.string(),
  /** As runtime/passwords.ts writes it; empty: of root, the configured one. */
  password: z.string(),
  roles: z.array(z.string()),
  /** Id of the request that created the user, so that a repetition is recognised as the same request. */
  requestId: z.string().optional(),
});
export type UserDoc = z.infer<typeof UserDoc>;

/** A privilege, or a group of them, on what is named; `*` stands for all. Names, not ids: what gets the name later is meant too. */
export const GrantDoc = part({
  privilege: z.string(),
  objectType: z.enum(["Collection", "Global", "User"]),
  objectName: z.string(),
  database: z.string(),
  grantor: z.string(),
});
export type GrantDoc = z.infer<typeof GrantDoc>;

/**
 * A role. `admin`, which may do everything, has no document; `public`, which everybody has, has none until it is
 * changed.
 */
export const RoleDoc = part({
  name: z.string(),
  description: z.string(),
  grants: z.array(GrantDoc),
  requestId: z.string().optional(),
});
export type RoleDoc = z.infer<typeof RoleDoc>;

/** A group of privileges that users have made. */
export const PrivilegeGroupDoc = part({
  name: z.string(),
  privileges: z.array(z.string()),
  requestId: z.string().optional(),
});
export type PrivilegeGroupDoc = z.infer<typeof PrivilegeGroupDoc>;

const key = <Doc>(prefix: string, schema: z.ZodType<Doc>) => ({ prefix, schema });

/** Every kind of key, with what it holds. The first token of a key is its kind. */
export const KEY_KINDS = {
  cluster: key("cluster", ClusterDoc),
  epoch: key("epoch", EpochDoc),
  members: key("members", MembersDoc),
  window: key("window.", WindowDoc),
  channel: key("channel.", ChannelDoc),
  checkpoint: key("checkpoint.", CheckpointDoc),
  database: key("database.", DatabaseDoc),
  name: key("name.", NameDoc),
  collection: key("collection.", CollectionDoc),
  manifest: key("manifest.", ManifestDoc),
  view: key("view.", ViewDoc),
  compaction: key("compaction.", CompactionDoc),
  group: key("group.", ResourceGroupDoc),
  import: key("import.", ImportDoc),
  user: key("user.", UserDoc),
  role: key("role.", RoleDoc),
  privileges: key("privileges.", PrivilegeGroupDoc),
} as const;

function token(name: string): string {
  return Buffer.from(name).toString("base64url");
}

export const metaKeys = {
  cluster: "cluster",
  epoch: "epoch",
  members: "members",
  timestampWindow: "window.ts",
  idWindow: "window.id",
  channel: (pchannel: number) => `channel.${pchannel}`,
  checkpoint: (pchannel: number) => `checkpoint.${pchannel}`,
  database: (name: string) => `database.${token(name)}`,
  name: (database: string, name: string) => `name.${token(database)}.${token(name)}`,
  collection: (collectionId: number) => `collection.${collectionId}`,
  manifest: (vchannel: string) => `manifest.${vchannel}`,
  view: (vchannel: string) => `view.${vchannel}`,
  compaction: (compactionId: number) => `compaction.${compactionId}`,
  resourceGroup: (name: string) => `group.${token(name)}`,
  importJob: (jobId: number) => `import.${jobId}`,
  user: (name: string) => `user.${token(name)}`,
  role: (name: string) => `role.${token(name)}`,
  privilegeGroup: (name: string) => `privileges.${token(name)}`,
} as const;

/** The document of a key, checked. Kinds that only a newer version knows come back as they are. @throws VdbError corrupt, newer_version */
export function decodeDoc(metaKey: string, bytes: Uint8Array): unknown {
  const value = decode(bytes);
  const schema = kindOf(metaKey)?.schema;
  if (schema === undefined) return value;
  const format = metaKey === metaKeys.cluster ? Number((value as Partial<ClusterDoc> | null)?.format) : 0;
  if (format > CLUSTER_FORMAT) {
    const message = `this cluster is in format ${format}, this program knows ${CLUSTER_FORMAT}: run the newer version`;
    throw new VdbError("newer_version", message);
  }
  const read = readShape(schema, value);
  if (read !== REFUSED) return read;
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  throw new VdbError(
    "corrupt",
    `meta key ${metaKey} does not hold what it should: ${issue?.path.join(".")}: ${issue?.message}`,
  );
}

/** A document's bytes, checked on the way out: what every node will read must not depend on who wrote it. */
export function encodeDoc(metaKey: string, doc: unknown): Uint8Array {
  const schema = kindOf(metaKey)?.schema;
  if (schema === undefined) return encode(doc);
  const read = readShape(schema, doc);
  return encode(read === REFUSED ? schema.parse(doc) : read);
}

function kindOf(metaKey: string): { schema: z.ZodType } | undefined {
  return (KEY_KINDS as Record<string, { schema: z.ZodType }>)[metaKey.split(".", 1)[0] ?? ""];
}
