/** One field of a create request as the schema will keep it, with Milvus's types, limits and messages. */
import { z } from "zod";
import { errorMessage, VdbError } from "../../../runtime/errors.ts";
import { toJson } from "../../../runtime/protocol/public-codec.ts";
import { withoutRow } from "../../../runtime/rows/bad-cell.ts";
import { fillColumn } from "../../../runtime/rows/fill-column.ts";
import {
  type ElementType,
  type FieldSchema,
  type FieldType,
  isVectorType,
  SCALAR_TYPES,
  type Scalar,
  type ScalarType,
  VECTOR_TYPES,
} from "../../../runtime/schema.ts";
import type { Column } from "../../../runtime/segment/column.ts";
import { normalInt64 } from "../../../runtime/segment/keys.ts";
import { fieldAnalyzer } from "../../../runtime/text/field-analyzer.ts";
import { checkFieldName } from "../names.ts";
import { optional } from "../parse-body.ts";

/** A field as it is asked for: the coordinator gives it its id. */
export type FieldSpec = Omit<FieldSchema, "fieldId">;

const DIMENSION_MIN = 2;
const DIMENSION_MAX = 32_768;
const BINARY_DIMENSION_MAX = 262_144;
const VARCHAR_BYTES_MAX = 65_535;
const ARRAY_CAPACITY_MAX = 4096;

const FIELD_TYPES: readonly string[] = [...SCALAR_TYPES, "Array", "Geometry", ...VECTOR_TYPES];

/** Milvus has them, this database not yet: said so, instead of calling them unknown. */
const TYPES_TO_COME = new Set(["Text", "ArrayOfVector", "ArrayOfStruct", "Struct"]);

const PARTITION_KEY_TYPES: readonly FieldType[] = ["Int64", "VarChar"];
const CLUSTERING_KEY_TYPES: readonly FieldType[] = ["Int8", "Int16", "Int32", "Int64", "Float", "Double", "VarChar"];

/** Parameters of analyzers come as JSON, or as text of it. */
const TypeParam = z.union([z.string(), z.number(), z.boolean(), z.record(z.string(), z.unknown())]);

export const FieldBody = z.object({
  fieldName: z.string().min(1),
  dataType: z.string().min(1),
  description: optional(z.string()),
  isPrimary: optional(z.boolean()),
  isPartitionKey: optional(z.boolean()),
  isClusteringKey: optional(z.boolean()),
  autoID: optional(z.boolean()),
  nullable: optional(z.boolean()),
  defaultValue: optional(z.unknown()),
  elementDataType: optional(z.string()),
  elementTypeParams: optional(z.record(z.string(), TypeParam)),
});
export type FieldBody = z.infer<typeof FieldBody>;

/** @throws VdbError invalid_parameter, invalid_field_name, vector_clustering_key, unexpected (Milvus's code for a wrong dimension) */
export function fieldSpec(body: FieldBody): FieldSpec {
  checkFieldName(body.fieldName);
  const { fieldName: name, isPrimary = false, nullable = false } = body;
  const type = fieldType(body.dataType);
  if (isPrimary) checkPrimary(body, type);
  if (body.isPartitionKey === true) checkPartitionKey(body, type);
  if (body.isClusteringKey === true && isVectorType(type)) {
    throw new VdbError("vector_clustering_key", `vector clustering key not allowed: field ${name} is of type ${type}`);
  }
  if (body.isClusteringKey === true && !CLUSTERING_KEY_TYPES.includes(type)) {
    throw invalid(`clustering key field ${name} can not be of type ${type}: use a number or VarChar`);
  }
  const spec: FieldSpec = {
    name,
    type,
    description: body.description ?? "",
    isPrimary,
    nullable,
    isDynamic: false,
    ...typeParams(body, type),
    ...(body.isPartitionKey === true ? { isPartitionKey: true } : {}),
    ...(body.isClusteringKey === true ? { isClusteringKey: true } : {}),
  };
  if (spec.enableAnalyzer === true) fieldAnalyzer(spec);
  const defaultValue = defaultOf(body, spec);
  return defaultValue === undefined ? spec : { ...spec, defaultValue };
}

function fieldType(name: string): FieldType {
  if (FIELD_TYPES.includes(name)) return name as FieldType;
  if (name === "String") throw invalid("string data type not supported yet, please use VarChar type instead");
  if (TYPES_TO_COME.has(name)) throw invalid(`data type ${name} is not supported yet`);
  throw invalid(`data type ${name} is invalid(case sensitive).`);
}

function checkPrimary(body: FieldBody, type: FieldType): void {
  if (type !== "Int64" && type !== "VarChar") {
    throw invalid(`the data type of primary key should be Int64 or VarChar, got ${type} of field ${body.fieldName}`);
  }
  if (body.defaultValue !== undefined) throw invalid(`primary field not support default_value: ${body.fieldName}`);
  if (body.nullable === true) throw invalid(`primary field not support null: ${body.fieldName}`);
}

function checkPartitionKey({ fieldName, isPrimary, nullable }: FieldBody, type: FieldType): void {
  if (isPrimary === true) throw invalid(`the partition key field must not be primary field, field name = ${fieldName}`);
  if (nullable === true) throw invalid(`partition key field not support nullable: ${fieldName}`);
  if (PARTITION_KEY_TYPES.includes(type)) return;
  throw invalid(`the data type of partition key should be Int64 or VarChar, got ${type} of field ${fieldName}`);
}

function typeParams(body: FieldBody, type: FieldType): Partial<FieldSpec> {
  const { fieldName: name, elementTypeParams: params = {} } = body;
  switch (type) {
    case "VarChar":
      return { maxLength: maxLength(name, params), ...textParams(name, params) };
    case "FloatVector":
    case "Float16Vector":
    case "BFloat16Vector":
    case "Int8Vector":
      return { dimension: dimensionOf(name, params.dim) };
    case "BinaryVector":
      return { dimension: bitsOf(name, params.dim) };
    case "SparseFloatVector":
      if (params.dim === undefined) return {};
      throw new VdbError("unexpected", `dim should not be specified for sparse vector field ${name}`);
    case "Array": {
      const elementType = elementTypeOf(body);
      const maxCapacity = maxCapacityOf(name, params);
      return elementType === "VarChar"
        ? { elementType, maxCapacity, maxLength: maxLength(name, params) }
        : { elementType, maxCapacity };
    }
    default:
      return {};
  }
}

function maxLength(name: string, params: Record<string, unknown>): number {
  if (params.max_length === undefined)
    throw invalid(`type param(max_length) should be specified for the field(${name})`);
  const value = wholeNumber(params.max_length);
  if (value !== undefined && value >= 1 && value <= VARCHAR_BYTES_MAX) return value;
  throw invalid(
    `the maximum length specified for the field(${name}) should be in (0, ${VARCHAR_BYTES_MAX}], got ${String(params.max_length)}`,
  );
}

function maxCapacityOf(name: string, params: Record<string, unknown>): number {
  if (params.max_capacity === undefined) {
    throw invalid(`type param(max_capacity) should be specified for the field(${name})`);
  }
  const value = wholeNumber(params.max_capacity);
  if (value !== undefined && value >= 1 && value <= ARRAY_CAPACITY_MAX) return value;
  throw invalid(
    `the maximum capacity specified for a Array should be in (0, ${ARRAY_CAPACITY_MAX}], got ${String(params.max_capacity)} for field ${name}`,
  );
}

/** What is said of a VarChar field's text: attributes that are absent are off. */
function textParams(name: string, params: Record<string, unknown>): Partial<FieldSpec> {
  const spec: Partial<FieldSpec> = {};
  if (isOn(name, "enable_analyzer", params)) spec.enableAnalyzer = true;
  if (isOn(name, "enable_match", params)) spec.enableMatch = true;
  if (spec.enableMatch === true && spec.enableAnalyzer !== true) {
    throw invalid(`field ${name} is set to enable match but not enable analyzer`);
  }
  if (params.analyzer_params !== undefined) {
    spec.analyzerParams = jsonParam(name, "analyzer_params", params.analyzer_params);
  }
  if (params.multi_analyzer_params !== undefined) {
    if (spec.enableMatch === true) throw invalid(`field ${name} can not have multi_analyzer_params with enable_match`);
    if (spec.analyzerParams !== undefined) {
      throw invalid(`field ${name} can not have both analyzer_params and multi_analyzer_params`);
    }
    spec.multiAnalyzerParams = jsonParam(name, "multi_analyzer_params", params.multi_analyzer_params);
  }
  return spec;
}

function isOn(name: string, key: string, params: Record<string, unknown>): boolean {
  const given = String(params[key] ?? false).toLowerCase();
  if (given === "true" || given === "false") return given === "true";
  throw invalid(`type param(${key}) of field(${name}) should be true or false, got ${given}`);
}

/** Kept as the text that was given, or that says the same. */
function jsonParam(name: string, key: string, given: unknown): string {
  if (typeof given !== "string") return toJson(given);
  try {
    JSON.parse(given);
    return given;
  } catch (error) {
    throw invalid(`type param(${key}) of field(${name}) is not valid JSON: ${errorMessage(error)}`);
  }
}

/** @throws VdbError unexpected */
export function dimensionOf(name: string, given: unknown): number {
  return dimensionUpTo(name, given, DIMENSION_MAX);
}

function bitsOf(name: string, given: unknown): number {
  const bits = dimensionUpTo(name, given, BINARY_DIMENSION_MAX);
  if (bits % 8 === 0) return bits;
  throw new VdbError(
    "unexpected",
    `invalid dimension: ${bits} of field ${name}. binary vector dimension should be multiple of 8.`,
  );
}

function dimensionUpTo(name: string, given: unknown, max: number): number {
  if (given === undefined) {
    throw new VdbError(
      "unexpected",
      `dimension is not defined in field type params of field ${name}, check type param \`dim\` for vector field`,
    );
  }
  const value = wholeNumber(given);
  if (value !== undefined && value >= DIMENSION_MIN && value <= max) return value;
  throw new VdbError(
    "unexpected",
    `invalid dimension: ${String(given)} of field ${name}. should be in range ${DIMENSION_MIN} ~ ${max}`,
  );
}

function elementTypeOf(body: FieldBody): ElementType {
  const name = body.elementDataType;
  if (name === undefined) throw invalid(`element data type should be specified for the array field(${body.fieldName})`);
  if (name === "JSON" || name === "Timestamptz" || !SCALAR_TYPES.includes(name as ScalarType))
    throw invalid(`element type ${name} is not supported`);
  return name as ElementType;
}

/** A default goes through the same checks as a value that is inserted, so it is as good as one. */
function defaultOf(body: FieldBody, spec: FieldSpec): Scalar | undefined {
  const { defaultValue } = body;
  if (defaultValue === undefined) return undefined;
  if (spec.type === "Array" || spec.type === "JSON" || spec.type === "Geometry" || isVectorType(spec.type)) {
    throw invalid(`type not support default_value, type:${spec.type}, name:${spec.name}`);
  }
  let column: Column;
  try {
    column = fillColumn({ ...spec, fieldId: 1 }, [defaultValue]);
  } catch (error) {
    if (!(error instanceof VdbError)) throw error;
    throw invalid(`default value of field ${spec.name}: ${withoutRow(error.message)}`);
  }
  // Integers and times may come as text; kept in the one form that they have in memory.
  return column.kind === "int64" ? normalInt64(column.values[0]!) : (defaultValue as Scalar);
}

/** Type params come as numbers or as text. */
export function wholeNumber(given: unknown): number | undefined {
  const value = typeof given === "string" && /^\d{1,10}$/.test(given) ? Number(given) : given;
  return typeof value === "number" && Number.isInteger(value) ? value : undefined;
}

export function invalid(message: string): VdbError {
  return new VdbError("invalid_parameter", message);
}
