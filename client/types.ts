/** Shapes of the client: Milvus's names, for TypeScript. */
import type { FieldType, Metric, ScalarType } from "../runtime/schema.ts";

export type { FieldType, Metric } from "../runtime/schema.ts";

export type ConsistencyLevel = "Strong" | "Session" | "Bounded" | "Eventually";
export type IndexTypeName = "FLAT" | "IVF_FLAT" | "IVF_SQ8" | "IVF_PQ" | "HNSW" | "AUTOINDEX";
export type Vector = readonly number[] | Float32Array;
/** Int64 keys beyond 2^53 are bigints. */
export type PrimaryKey = number | bigint | string;
/** Field names to values. Int64 beyond 2^53 is a bigint; a vector that comes back is a Float32Array, a JSON field its text. */
export type Row = Record<string, unknown>;

export interface ConnectOptions {
  /** Of NATS: "nats://host:4222", several in a list. */
  servers: string | string[];
  /** Of the cluster: nats.prefix in its configuration. */
  prefix?: string;
  user?: string;
  pass?: string;
  /** How long a call may take, retries included, unless it says otherwise. */
  timeoutMs?: number;
}

export interface FieldDefinition {
  fieldName: string;
  dataType: FieldType;
  isPrimary?: boolean;
  description?: string;
  nullable?: boolean;
  defaultValue?: boolean | number | bigint | string;
  elementDataType?: Exclude<ScalarType, "JSON">;
  elementTypeParams?: { dim?: number; max_length?: number; max_capacity?: number };
}

export interface IndexParams {
  fieldName: string;
  /** The field's name when absent. */
  indexName?: string;
  metricType?: Metric;
  indexType?: IndexTypeName;
  params?: Record<string, string | number | boolean>;
}

/** With `dimension` alone: a quick set-up (fields `id` and `vector`, dynamic field, index, loaded). With `schema`: what it says. */
export interface CreateCollectionOptions {
  collectionName: string;
  description?: string;
  dimension?: number;
  metricType?: Metric;
  idType?: "Int64" | "VarChar";
  autoID?: boolean;
  primaryFieldName?: string;
  vectorFieldName?: string;
  schema?: { autoID?: boolean; enableDynamicField?: boolean; fields: FieldDefinition[] };
  properties?: {
    /** Rows older than this are seen by no read, and removed by compaction. -1 and 0: rows live for ever. */
    "collection.ttl.seconds"?: number;
    /** False: segments are merged only when compaction is asked for. */
    "collection.autocompaction.enabled"?: boolean;
  };
  /** When given, the collection is indexed and loading begins. */
  indexParams?: IndexParams[];
  params?: {
    shardsNum?: number;
    consistencyLevel?: ConsistencyLevel;
    /** Of VarChar keys in the quick set-up. */
    max_length?: number;
    enableDynamicField?: boolean;
  };
}

export interface CollectionDescription {
  collectionName: string;
  collectionID: number;
  description: string;
  autoId: boolean;
  load: LoadStateName;
  shardsNum: number;
  partitionsNum: number;
  consistencyLevel: ConsistencyLevel;
  enableDynamicField: boolean;
  indexes: { indexName: string; fieldName: string; metricType: Metric }[];
  fields: {
    name: string;
    id: number;
    type: FieldType;
    elementType?: string;
    primaryKey: boolean;
    autoId: boolean;
    nullable: boolean;
    defaultValue?: unknown;
    description: string;
    params: { key: string; value: string }[];
  }[];
}

export interface IndexDescription {
  indexName: string;
  fieldName: string;
  indexType: string;
  metricType: Metric;
  totalRows: number;
  indexedRows: number;
  pendingRows: number;
  indexState: "Finished" | "InProgress";
  failReason: string;
  indexParams: { key: string; value: string }[];
}

export type LoadStateName = "LoadStateLoaded" | "LoadStateLoading" | "LoadStateNotLoad";

export interface LoadState {
  loadState: LoadStateName;
  /** Percent; absent when not loaded. */
  loadProgress?: number;
  /** Why loading does not get on. */
  message?: string;
}

/** Milvus's shape. */
export interface ResourceGroupConfig {
  /** Nodes that the group asks for. */
  requests?: { node_num: number };
  /** Nodes that it keeps at most; as many as it asks for when absent. */
  limits?: { node_num: number };
  transfer_from?: { resource_group: string }[];
  transfer_to?: { resource_group: string }[];
}

export interface ResourceGroupDescription {
  name: string;
  capacity: number;
  num_available_node: number;
  /** By collection. */
  num_loaded_replica: Record<string, number>;
  /** Of every group but the default one. */
  config?: ResourceGroupConfig;
  nodes: { node_id: string; hostname: string }[];
}

export interface CompactionState {
  compactionID: number;
  state: "Executing" | "Completed";
  executingPlanNumber: number;
  timeoutPlanNumber: number;
  completedPlanNumber: number;
}

export interface InsertOptions {
  collectionName: string;
  partitionName?: string;
  data: Row | readonly Row[];
  /** Names this write: sent again under the same name it is applied once. Made up when absent. At most 40 characters. */
  requestId?: string;
  /**
   * With autoID: the first of as many ids as there are rows, from reserveIds. Whoever sends such rows again under the same
   * requestId, after a failure of the whole call, gives both again.
   */
  firstId?: number;
  timeoutMs?: number;
}

export interface DeleteOptions {
  collectionName: string;
  filter: string;
  exprParams?: Record<string, unknown>;
  requestId?: string;
  timeoutMs?: number;
}

interface ReadOptions {
  collectionName: string;
  partitionNames?: string[];
  outputFields?: string[];
  consistencyLevel?: ConsistencyLevel;
  timeoutMs?: number;
}

export interface GetOptions extends ReadOptions {
  id: PrimaryKey | readonly PrimaryKey[];
}

export interface QueryOptions extends ReadOptions {
  filter?: string;
  /** Values of `{name}` in the filter. */
  exprParams?: Record<string, unknown>;
  /** 100 when absent; offset + limit at most 16,384. */
  limit?: number;
  offset?: number;
}

/** Parameters of the index (`ef`, `nprobe`, …), `radius` and `range_filter`, `round_decimal`, `ignore_growing`. */
export type SearchParams = Record<string, string | number | boolean>;

/** `rrf`, `weighted`, `decay` or `boost`, in `params.reranker`, with the parameters of each. */
export interface RerankFunction {
  name?: string;
  type?: "Rerank";
  inputFieldNames?: string[];
  params: Record<string, unknown>;
}

export interface FunctionScore {
  functions: RerankFunction[];
  /** Of boosts: `boost_mode`, `function_mode`. */
  params?: Record<string, unknown>;
}

export interface GroupingOptions {
  /** A scalar field, a path in a JSON field or a dynamic key; limit then counts groups. */
  groupingField?: string;
  /** Rows of a group at most; one when absent. */
  groupSize?: number;
  /** Looks for rows until the groups are full. */
  strictGroupSize?: boolean;
}

export interface SearchOptions extends QueryOptions, GroupingOptions {
  /** One vector, or a list of them, or one Float32Array of several end to end. */
  data?: Vector | readonly Vector[];
  /** Instead of vectors: primary keys of rows whose vectors are searched for. */
  ids?: readonly PrimaryKey[];
  /** Needed when the collection has several vector fields. */
  annsField?: string;
  searchParams?: { metricType?: Metric; params?: SearchParams };
  functionScore?: FunctionScore;
}

export interface SearchIteratorOptions extends Omit<SearchOptions, "ids" | "data" | "limit" | "offset"> {
  data: Vector;
  /** Hits at a time; 1,000 when absent, at most 16,384. */
  batchSize?: number;
}

/** One of the searches of a hybrid search. */
export interface SubSearch {
  data: Vector | readonly Vector[];
  annsField?: string;
  filter?: string;
  exprParams?: Record<string, unknown>;
  metricType?: Metric;
  limit?: number;
  params?: SearchParams;
  /** Boosts only. */
  functionScore?: FunctionScore;
}

export interface HybridSearchOptions extends Omit<QueryOptions, "filter" | "exprParams">, GroupingOptions {
  search: readonly SubSearch[];
  /** rrf with k = 60 when absent. */
  rerank?: { strategy: "rrf" | "weighted"; params?: Record<string, unknown> };
  functionScore?: FunctionScore;
  /** By what groups are ordered: the best of their rows' scores, their sum, their mean. */
  rankGroupScorer?: "max" | "sum" | "avg";
}

/** The primary key under its own name, `distance` as the metric reports it, and the output fields. */
export type Hit = Row & { distance: number };

export interface ImportJobOptions {
  collectionName: string;
  partitionName?: string;
  /** Each file of its own; lists of them mean the same. The ending tells the format: json, ndjson, jsonl, csv, parquet, arrow. */
  files: (string | string[])[];
  options?: {
    /** Of CSV, between two cells. Default a comma. */
    sep?: string;
    /** The text that stands for null in CSV. Default none. */
    nullkey?: string;
    /** Such as "300s": the job fails when its rows are not stored by then. */
    timeout?: string;
  };
}

export interface ImportJobSummary {
  jobId: string;
  collectionName: string;
  state: "Pending" | "Importing" | "Completed" | "Failed";
  /** Percent. */
  progress: number;
  reason?: string;
}

export interface ImportJob extends ImportJobSummary {
  /** RFC 3339; empty while it has not ended. */
  createTime: string;
  completeTime: string;
  importedRows: number;
  totalRows: number;
  /** Bytes, of all files. */
  fileSize: number;
  details: {
    fileName: string;
    fileSize: number;
    progress: number;
    completeTime: string;
    state: ImportJobSummary["state"];
    importedRows: number;
    totalRows: number;
    reason?: string;
  }[];
}

/** Of a collection, a database or an index: kept as text. */
export type Properties = Record<string, string | number | boolean>;

export interface DatabaseDescription {
  dbName: string;
  dbID: number;
  properties: { key: string; value: string }[];
}

export interface AliasDescription {
  dbName: string;
  collectionName: string;
  aliasName: string;
}
