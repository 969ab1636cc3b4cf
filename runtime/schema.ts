/**
 * The schema of a collection as the cluster keeps it: what the proxy validates against, what names the columns of
 * every batch, segment and file. Words, limits and defaults are Milvus 2.6's.
 */

export const SCALAR_TYPES = [
  ...(["Bool", "Int8", "Int16", "Int32", "Int64", "Float", "Double", "VarChar", "JSON"] as const),
  /** Microseconds since 1970 in UTC, kept as Int64; ISO 8601 text outside. */
  "Timestamptz",
] as const;
export type ScalarType = (typeof SCALAR_TYPES)[number];
export type ElementType = Exclude<ScalarType, "JSON" | "Timestamptz">;

/** Vectors whose rows are `bytesOfVector` bytes each. */
const PACKED_VECTOR_TYPES = ["Float16Vector", "BFloat16Vector", "Int8Vector", "BinaryVector"] as const;
export type PackedVectorType = (typeof PACKED_VECTOR_TYPES)[number];
export const VECTOR_TYPES = ["FloatVector", ...PACKED_VECTOR_TYPES, "SparseFloatVector"] as const;
export type VectorType = (typeof VECTOR_TYPES)[number];

const PACKED_BITS: Record<PackedVectorType, number> = {
  Float16Vector: 16,
  BFloat16Vector: 16,
  Int8Vector: 8,
  BinaryVector: 1,
};

/** Bytes of one vector. */
export function bytesOfVector(type: PackedVectorType, dimension: number): number {
  return (PACKED_BITS[type] * dimension) / 8;
}

export function isPackedVectorType(type: FieldType): type is PackedVectorType {
  return (PACKED_VECTOR_TYPES as readonly string[]).includes(type);
}

/** Of a collection. */
export const VECTOR_FIELDS_MAX = 4;

/** Geometry: well-known text, kept as VarChar is. */
export type FieldType = ScalarType | "Array" | "Geometry" | VectorType;

export function isVectorType(type: FieldType): type is VectorType {
  return (VECTOR_TYPES as readonly string[]).includes(type);
}

export const METRICS = [
  ...(["L2", "IP", "COSINE", "HAMMING", "JACCARD", "BM25"] as const),
  /** Of bits: only rows that have every bit of the query are found, or only rows whose every bit the query has; at distance 0. */
  ...(["SUBSTRUCTURE", "SUPERSTRUCTURE"] as const),
] as const;
export type Metric = (typeof METRICS)[number];
/** Of vectors of numbers: all types but BinaryVector and SparseFloatVector. */
export const NUMBER_METRICS = ["L2", "IP", "COSINE"] as const satisfies readonly Metric[];

const ASCENDING: readonly Metric[] = ["L2", "HAMMING", "JACCARD", "SUBSTRUCTURE", "SUPERSTRUCTURE"];

/** Whether the greater distance is the better: IP, COSINE and BM25 count up, the others down. */
export function isDescending(metric: Metric): boolean {
  return !ASCENDING.includes(metric);
}

/** Whether rows match or do not, and no distance tells one match from another. */
export function isMatching(metric: Metric): boolean {
  return metric === "SUBSTRUCTURE" || metric === "SUPERSTRUCTURE";
}

/** What a row may carry of a scalar field, once validated. Int64 beyond 2^53 is a bigint. */
export type Scalar = boolean | number | bigint | string;

export interface FieldSchema {
  /** Ids are never reused and name the columns in batches and files, so a field can be renamed. User fields start at 100. */
  fieldId: number;
  name: string;
  type: FieldType;
  description: string;
  isPrimary: boolean;
  nullable: boolean;
  /** Taken where a row omits the field or gives null. Scalars except Array and JSON. */
  defaultValue?: Scalar;
  /** VarChar (and VarChar elements): bytes of UTF-8, 1 to 65,535. */
  maxLength?: number;
  /** Array: 1 to 4,096 elements. */
  maxCapacity?: number;
  elementType?: ElementType;
  /** Vectors but sparse ones: 2 to 32,768 numbers; BinaryVector: bits, a multiple of 8, up to 262,144. */
  dimension?: number;
  /** The hidden JSON field that keeps what rows carry beyond the schema. */
  isDynamic: boolean;
  /** Rows go to the partition that this field's value hashes to. */
  isPartitionKey?: boolean;
  isClusteringKey?: boolean;
  /** VarChar: its text can be searched for tokens (BM25 functions), with `analyzer`. */
  enableAnalyzer?: boolean;
  /** VarChar: `text_match` and `phrase_match` are allowed. */
  enableMatch?: boolean;
  /** JSON text of the analyzer's parameters, as given; absent: the standard one. */
  analyzerParams?: string;
  /** JSON text: analyzers by the value of another field. */
  multiAnalyzerParams?: string;
  /** Made by a function from other fields: rows do not bring it. */
  isFunctionOutput?: boolean;
  /** As asked for; without effect, since columns are read into memory. */
  mmapEnabled?: boolean;
}

/** Makes one field of another as rows are written. BM25: term counts (sparse) of a text. */
export interface FunctionSchema {
  functionId: number;
  name: string;
  type: "BM25";
  description: string;
  inputFieldIds: number[];
  outputFieldIds: number[];
  /** As given: values as text. */
  params: Record<string, string>;
}

export interface CollectionSchema {
  /** Grows by one with every change. */
  version: number;
  fields: FieldSchema[];
  autoId: boolean;
  enableDynamicField: boolean;
  functions?: FunctionSchema[] | undefined;
  /** Of fields that were dropped, too; absent: none was. */
  lastFieldId?: number | undefined;
}

export const DYNAMIC_FIELD = "$meta";

export function primaryField(schema: CollectionSchema): FieldSchema {
  const field = schema.fields.find((f) => f.isPrimary);
  if (field === undefined) throw new Error("schema has no primary field");
  return field;
}

export function fieldByName(schema: CollectionSchema, name: string): FieldSchema | undefined {
  return schema.fields.find((f) => f.name === name);
}

export function vectorFields(schema: CollectionSchema): FieldSchema[] {
  return schema.fields.filter((f) => isVectorType(f.type));
}
