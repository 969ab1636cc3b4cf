/** One field of a create request as the schema will keep it, with Milvus's types, limits and messages. */
import { z } from "zod";
import { VdbError } from "../../runtime/errors.ts";
import { type FieldSchema, type FieldType, SCALAR_TYPES, type Scalar, type ScalarType } from "../../runtime/schema.ts";
import { fillColumn } from "./fill-column.ts";
import { checkFieldName } from "./names.ts";
import { optional } from "./parse-body.ts";

/** A field as it is asked for: the coordinator gives it its id. */
export type FieldSpec = Omit<FieldSchema, "fieldId">;

const DIMENSION_MIN = 2;
const DIMENSION_MAX = 32_768;
const VARCHAR_BYTES_MAX = 65_535;
const ARRAY_CAPACITY_MAX = 4096;

const FIELD_TYPES: readonly string[] = [...SCALAR_TYPES, "Array", "FloatVector"];

/** Milvus has them, this database not yet: said so, instead of calling them unknown. */
const TYPES_TO_COME = new Set([
  ...["Geometry", "Text", "Timestamptz", "BinaryVector", "Float16Vector", "BFloat16Vector", "SparseFloatVector"],
  ...["Int8Vector", "ArrayOfVector", "ArrayOfStruct", "Struct"],
]);

const TypeParam = z.union([z.string(), z.number(), z.boolean()]);

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

/** @throws VdbError invalid_parameter, invalid_field_name, unexpected (Milvus's code for a wrong dimension) */
export function fieldSpec(body: FieldBody): FieldSpec {
  checkFieldName(body.fieldName);
  const { fieldName: name, isPrimary = false, nullable = false } = body;
  const type = fieldType(body.dataType);
  if (body.isPartitionKey === true) throw invalid(`partition key field ${name} is not supported yet`);
  if (body.isClusteringKey === true) throw invalid(`clustering key field ${name} is not supported yet`);
  if (isPrimary) checkPrimary(body, type);
  if (nullable && type === "FloatVector") throw invalid(`vector field ${name} can not be nullable`);
  const spec: FieldSpec = {
    name,
    type,
    description: body.description ?? "",
    isPrimary,
    nullable,
    isDynamic: false,
    ...typeParams(body, type),
  };
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

function typeParams(body: FieldBody, type: FieldType): Partial<FieldSpec> {
  const { fieldName: name, elementTypeParams: params = {} } = body;
  switch (type) {
    case "VarChar":
      return { maxLength: maxLength(name, params) };
    case "FloatVector":
      return { dimension: dimensionOf(name, params.dim) };
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

/** @throws VdbError unexpected */
export function dimensionOf(name: string, given: unknown): number {
  if (given === undefined) {
    throw new VdbError(
      "unexpected",
      `dimension is not defined in field type params of field ${name}, check type param \`dim\` for vector field`,
    );
  }
  const value = wholeNumber(given);
  if (value !== undefined && value >= DIMENSION_MIN && value <= DIMENSION_MAX) return value;
  throw new VdbError(
    "unexpected",
    `invalid dimension: ${String(given)} of field ${name}. should be in range ${DIMENSION_MIN} ~ ${DIMENSION_MAX}`,
  );
}

function elementTypeOf(body: FieldBody): Exclude<ScalarType, "JSON"> {
  const name = body.elementDataType;
  if (name === undefined) throw invalid(`element data type should be specified for the array field(${body.fieldName})`);
  if (name === "JSON" || !SCALAR_TYPES.includes(name as ScalarType))
    throw invalid(`element type ${name} is not supported`);
  return name as Exclude<ScalarType, "JSON">;
}

/** A default goes through the same checks as a value that is inserted, so it is as good as one. */
function defaultOf(body: FieldBody, spec: FieldSpec): Scalar | undefined {
  const { defaultValue } = body;
  if (defaultValue === undefined) return undefined;
  if (spec.type === "Array" || spec.type === "JSON" || spec.type === "FloatVector") {
    throw invalid(`type not support default_value, type:${spec.type}, name:${spec.name}`);
  }
  try {
    fillColumn({ ...spec, fieldId: 1 }, [defaultValue]);
  } catch (error) {
    if (!(error instanceof VdbError)) throw error;
    throw invalid(`default value of field ${spec.name}: ${error.message}`);
  }
  // Int64 may come as text; kept in the one form that it has in memory.
  return spec.type === "Int64" && typeof defaultValue === "string"
    ? compact(BigInt(defaultValue))
    : (defaultValue as Scalar);
}

function compact(value: bigint): number | bigint {
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : value;
}

/** Type params come as numbers or as text. */
export function wholeNumber(given: unknown): number | undefined {
  const value = typeof given === "string" && /^\d{1,10}$/.test(given) ? Number(given) : given;
  return typeof value === "number" && Number.isInteger(value) ? value : undefined;
}

export function invalid(message: string): VdbError {
  return new VdbError("invalid_parameter", message);
}
