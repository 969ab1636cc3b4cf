/** Shapes of the client: Milvus's names, for TypeScript. */
import type { IndexType } from "../runtime/ann/index-params.ts";
import type { TlsFiles } from "../runtime/nats/tls.ts";
import type { ScalarIndexType } from "../runtime/scalar-index/definition.ts";
import type { ElementType, FieldType, Metric } from "../runtime/schema.ts";

export type { FieldType, Metric } from "../runtime/schema.ts";

export type ConsistencyLevel = "Strong" | "Session" | "Bounded" | "Eventually";
/** Of vectors, and of scalars. */
export type IndexTypeName = IndexType | ScalarIndexType;
/** Values by index; or indices and values, in any order. */
export type SparseVector =
  | Readonly<Record<number, number>>
  | { indices: readonly number[] | Uint32Array; values: readonly number[] | Float32Array };
/**
 * Numbers for every dense type but BinaryVector; Uint8Array: the bytes of a packed one (Float16Vector, BFloat16Vector,
 * Int8Vector, BinaryVector), in which form these come back.
 */
export type Vector = readonly number[] | Float32Array | Float64Array | Int8Array | Uint8Array | SparseVector;
/** Text to search a BM25 field for, or the base64 of a packed vector. */
export type QueryVector = Vector | string;
/** Int64 keys beyond 2^53 are bigints. */
export type PrimaryKey = number | bigint | string;
/**
 * Field names to values. Int64 beyond 2^53 is a bigint; a vector that comes back is a Float32Array, a packed one a
 * Uint8Array, a sparse one its values by index; a JSON field its text, a Timestamptz ISO 8601 text.
 */
export type Row = Record<string, unknown>;

/** A user of the database, with its password. */
export interface Credentials {
  userName: string;
  password: string;
}

export interface ConnectOptions {
  /** Of NATS: "nats://host:4222", several in a list; "tls://host:4222" for no connection without TLS. */
  servers: string | string[];
  /** Of the cluster: nats.prefix in its configuration. */
  prefix?: string;
  /** Of the NATS server: who may connect at all. */
  user?: string;
  pass?: string;
  /** Files of TLS to NATS, each only where it is needed. */
  tls?: TlsFiles;
  /** User and password of the database, where it asks for them (`proxy.authorization`). */
  credentials?: Credentials;
  /** The database that collections are looked up in. Default: `default`. */
  database?: string;
  /** Default time limit of a call, retries included. */
  timeoutMs?: number;
}

export interface FieldDefinition {
  fieldName: string;
  dataType: FieldType;
  isPrimary?: boolean;
  description?: string;
  nullable?: boolean;
  defaultValue?: boolean | number | bigint | string;
  elementDataType?: ElementType;
  elementTypeParams?: {
    /** Of vectors but sparse ones. */
    dim?: number;
    /** Bytes of a text, or of the texts of an array. */
    max_length?: number;
    /** Items of an array. */
    max_capacity?: number;
    /** A BM25 function may read the text. */
    enable_analyzer?: boolean;
    /** Filters may match words of the text. Needs enable_analyzer. */
    enable_match?: boolean;
    analyzer_params?: Record<string, unknown> | string;
    multi_analyzer_params?: Record<string, unknown> | string;
  };
  /** Rows are in partitions by its value. */
  isPartitionKey?: boolean;
  isClusteringKey?: boolean;
}

/** BM25: makes a SparseFloatVector field from the words of a VarChar field. */
export interface FunctionDefinition {
  name: string;
  description?: string;
  type: "BM25";
  inputFieldNames: string[];
  outputFieldNames: string[];
  params?: Record<string, never>;
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
  schema?: {
    autoID?: boolean;
    enableDynamicField?: boolean;
    fields: FieldDefinition[];
    functions?: FunctionDefinition[];
  };
  properties?: {
    /** No read sees rows older than this, and compaction removes them. -1 and 0: rows live for ever. */
    "collection.ttl.seconds"?: number;
    /** False: segments are merged only when compaction is asked for. */
    "collection.autocompaction.enabled"?: boolean;
  };
  /** When given, the collection is indexed and loading begins. */
  indexParams?: IndexParams[];
  params?: {
    shardsNum?: number;
    /** With a partition key: 16 when absent. */
    partitionsNum?: number;
    /** Each search is about one value of the partition key. */
    partitionKeyIsolation?: boolean;
    consistencyLevel?: ConsistencyLevel;
    /** Of VarChar keys in the quick set-up. */
    max_length?: number;
    enableDynamicField?: boolean;
  };
}

export interface PartitionName {
  collectionName: string;
  partitionName: string;
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
  /** The most nodes that it keeps; as many as it asks for when absent. */
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
  /** Plans given up because query nodes had no room for their results. */
  timeoutPlanNumber: number;
  completedPlanNumber: number;
  /** Why one was given up. */
  reason?: string;
}

export interface InsertOptions {
  collectionName: string;
  partitionName?: string;
  data: Row | readonly Row[];
  /**
   * Identifies this write: repeated under the same id, it is applied once. Generated when absent. At most 40
   * characters.
   */
  requestId?: string;
  /**
   * With autoID: the first of as many ids as there are rows, from reserveIds. To repeat such a write after the whole
   * call has failed, give the same requestId and firstId.
   */
  firstId?: number;
  timeoutMs?: number;
}

/** What a partial upsert does with a field that its rows give. */
export interface FieldOperation {
  fieldName: string;
  op: "REPLACE" | "ARRAY_APPEND" | "ARRAY_REMOVE";
}

export interface UpsertOptions extends InsertOptions {
  /** Rows give only some of their fields, all the same ones; existing rows keep the others. */
  partialUpdate?: boolean;
  /** Any op but REPLACE makes the upsert partial. */
  fieldOps?: FieldOperation[];
  /** The one row of data, which has no key, is laid over every row that the filter matches (16,384 at most). */
  filter?: string;
  exprParams?: Record<string, unknown>;
}

export interface DeleteOptions {
  collectionName: string;
  partitionName?: string;
  filter: string;
  exprParams?: Record<string, unknown>;
  requestId?: string;
  timeoutMs?: number;
}

interface ReadOptions {
  collectionName: string;
  /** The time zone of Timestamptz values; the collection's when absent. */
  timezone?: string;
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

export interface Highlighter {
  type?: "Lexical";
  params: {
    pre_tags?: string[];
    post_tags?: string[];
    /** The terms of the search itself, by BM25. */
    highlight_search_text?: boolean;
    highlight_query?: { type: "TextMatch"; field: string; text: string }[];
    fragment_offset?: number;
    fragment_size?: number;
    num_of_fragments?: number;
  };
}

export interface GroupingOptions {
  /** Groups hits by a scalar field, a path in a JSON field or a dynamic key; limit then counts groups. */
  groupingField?: string;
  /** Rows of a group at most; one when absent. */
  groupSize?: number;
  /** Looks for rows until the groups are full. */
  strictGroupSize?: boolean;
}

export interface SearchOptions extends QueryOptions, GroupingOptions {
  /** One vector, or a list of them, or one Float32Array of several end to end. */
  data?: QueryVector | readonly QueryVector[];
  /** Instead of vectors: primary keys of rows whose vectors are searched for. */
  ids?: readonly PrimaryKey[];
  /** Needed when the collection has several vector fields. */
  annsField?: string;
  searchParams?: { metricType?: Metric; params?: SearchParams };
  functionScore?: FunctionScore;
  highlighter?: Highlighter;
}

export interface SearchIteratorOptions extends Omit<SearchOptions, "ids" | "data" | "limit" | "offset"> {
  data: QueryVector;
  /** Hits at a time; 1,000 when absent, at most 16,384. */
  batchSize?: number;
}

/** One of the searches of a hybrid search. */
export interface SubSearch {
  data: QueryVector | readonly QueryVector[];
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
  highlighter?: Highlighter;
  /** How groups are ordered: by the best of their rows' scores, their sum, or their mean. */
  rankGroupScorer?: "max" | "sum" | "avg";
}

/** The primary key under its own name, `distance` as the metric reports it, and the output fields. */
export type Hit = Row & { distance: number };

export interface ImportJobOptions {
  collectionName: string;
  partitionName?: string;
  /** Single files or lists of files, with the same meaning. The ending tells the format: json, ndjson, jsonl, csv, parquet, arrow. */
  files: (string | string[])[];
  options?: {
    /** Of CSV, between two cells. Default a comma. */
    sep?: string;
    /** The text that stands for null in CSV. Default none. */
    nullkey?: string;
    /** For example "300s": the job fails when its rows are not stored by then. */
    timeout?: string;
  };
  /** Default a new one. Given again, it is the same job. */
  requestId?: string;
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
