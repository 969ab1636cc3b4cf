/**
 * The schema of a collection as the cluster keeps it: what the proxy validates against, what names the columns of
 * every batch, segment and file. Words, limits and defaults are Milvus 2.6's.
 */

export const SCALAR_TYPES = ["Bool", "Int8", "Int16", "Int32", "Int64", "Float", "Double", "VarChar", "JSON"] as const;
export type ScalarType = (typeof SCALAR_TYPES)[number];
export type FieldType = ScalarType | "Array" | "FloatVector";

export const METRICS = ["L2", "IP", "COSINE"] as const;
export type Metric = (typeof METRICS)[number];

/** Whether the greater distance is the better: IP and COSINE count up, L2 counts down. */
export function isDescending(metric: Metric): boolean {
  return metric !== "L2";
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
  elementType?: Exclude<ScalarType, "JSON">;
  /** FloatVector: 2 to 32,768. */
  dimension?: number;
  /** The hidden JSON field that keeps what rows carry beyond the schema. */
  isDynamic: boolean;
}

export interface CollectionSchema {
  /** Grows by one with every change. */
  version: number;
  fields: FieldSchema[];
  autoId: boolean;
  enableDynamicField: boolean;
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
  return schema.fields.filter((f) => f.type === "FloatVector");
}
