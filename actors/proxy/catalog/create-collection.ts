/**
 * The body of collections/create, as what to ask the coordinator for. Two modes: with `schema.fields`, what they say;
 * without, a quick set-up from `dimension` alone. Everything is checked before anything is made.
 */
import { z } from "zod";
import { VdbError } from "../../../runtime/errors.ts";
import { KEY_PARTITIONS_DEFAULT, PARTITIONS_MAX } from "../../../runtime/partitions.ts";
import { show } from "../../../runtime/rows/bad-cell.ts";
import { DYNAMIC_FIELD, isVectorType, VECTOR_FIELDS_MAX } from "../../../runtime/schema.ts";
import { fieldAnalyzer } from "../../../runtime/text/field-analyzer.ts";
import { TTL_PROPERTY } from "../../../runtime/ttl.ts";
import { type ConsistencyLevel, consistencyLevelOf } from "../consistency.ts";
import { checkCollectionName } from "../names.ts";
import { optional } from "../parse-body.ts";
import { collectionProperties, ISOLATION_PROPERTY, requirePartitionKey } from "./collection-properties.ts";
import { dimensionOf, FieldBody, type FieldSpec, fieldSpec, invalid, wholeNumber } from "./field-spec.ts";
import { IndexBody, type IndexRequest, indexRequest, metricOf } from "./index-request.ts";
import { FunctionBody, type FunctionRequest, withFunctions } from "./schema-functions.ts";

const FIELDS_MAX = 64;
const SHARDS_MAX = 16;

const Param = z.union([z.string(), z.number(), z.boolean()]);

export const CreateCollectionBody = z.object({
  dbName: optional(z.string()),
  collectionName: z.string().min(1),
  description: optional(z.string()),
  dimension: optional(z.union([z.number(), z.string()])),
  idType: optional(z.string()),
  autoID: optional(z.boolean()),
  metricType: optional(z.string()),
  primaryFieldName: optional(z.string()),
  vectorFieldName: optional(z.string()),
  schema: optional(
    z.object({
      autoID: optional(z.boolean()),
      autoId: optional(z.boolean()),
      enableDynamicField: optional(z.boolean()),
      description: optional(z.string()),
      fields: optional(z.array(FieldBody)),
      functions: optional(z.array(FunctionBody)),
    }),
  ),
  indexParams: optional(z.array(IndexBody)),
  params: optional(z.record(z.string(), optional(Param))),
  properties: optional(z.record(z.string(), optional(Param))),
});
export type CreateCollectionBody = z.infer<typeof CreateCollectionBody>;

export interface CollectionRequest {
  name: string;
  description: string;
  fields: FieldSpec[];
  /** Absent: none. */
  functions?: FunctionRequest[];
  autoId: boolean;
  enableDynamicField: boolean;
  shardCount: number;
  /** With a partition key only. */
  partitionCount?: number;
  consistencyLevel: ConsistencyLevel;
  properties: Record<string, string>;
  /** Indexes to make with it. When there are any, the collection is loaded too. */
  indexes: IndexRequest[];
}

/** @throws VdbError invalid_parameter, invalid_field_name, missing_field, index_unsupported, unexpected (limits) */
export function collectionRequest(body: CreateCollectionBody): CollectionRequest {
  checkCollectionName(body.collectionName);
  const { params = {} } = body;
  refuseUnsupported(body);
  const isQuick = (body.schema?.fields ?? []).length === 0;
  const { autoId, enableDynamicField, ...given } = isQuick ? quickSchema(body) : givenSchema(body);
  checkFields(given.fields);
  const { fields, functions } = withFunctions(given.fields, body.schema?.functions ?? []);
  const all = enableDynamicField ? [...fields, dynamicField()] : fields;
  return {
    name: body.collectionName,
    description: body.description ?? body.schema?.description ?? "",
    fields: all,
    ...(functions.length === 0 ? {} : { functions }),
    autoId,
    enableDynamicField,
    shardCount: shardCount(params.shardsNum),
    ...partitionCount(fields, params.partitionsNum),
    consistencyLevel: consistencyLevelOf(params.consistencyLevel) ?? "Bounded",
    properties: createProperties(body, fields),
    indexes: isQuick && (body.indexParams ?? []).length === 0 ? [quickIndex(body, fields)] : givenIndexes(body, fields),
  };
}

function refuseUnsupported(body: CreateCollectionBody): void {
  const { schema } = body;
  if ((schema?.functions ?? []).length > 0 && (schema?.fields ?? []).length === 0) {
    throw invalid("functions are not supported for quickly create collection: give schema.fields");
  }
}

/** Those that have a place among the parameters, too. */
const PARAM_PROPERTIES: Readonly<Record<string, string>> = {
  ttlSeconds: TTL_PROPERTY,
  partitionKeyIsolation: ISOLATION_PROPERTY,
  "mmap.enabled": "mmap.enabled",
  warmup: "warmup",
  "warmup.scalarField": "warmup.scalarField",
  "warmup.scalarIndex": "warmup.scalarIndex",
  "warmup.vectorField": "warmup.vectorField",
  "warmup.vectorIndex": "warmup.vectorIndex",
};

/** @throws VdbError invalid_parameter */
function createProperties({ params = {}, properties = {} }: CreateCollectionBody, fields: readonly FieldSpec[]) {
  const given: Record<string, string | number | boolean> = {};
  for (const [name, key] of Object.entries(PARAM_PROPERTIES)) {
    const value = params[name];
    if (value !== undefined) given[key] = value;
  }
  const checked = collectionProperties({ ...given, ...properties });
  if (checked[ISOLATION_PROPERTY] === "true") requirePartitionKey(fields);
  return checked;
}

interface SchemaParts {
  fields: FieldSpec[];
  autoId: boolean;
  enableDynamicField: boolean;
}

function quickSchema(body: CreateCollectionBody): SchemaParts {
  const { params = {}, idType = "Int64" } = body;
  const primary = body.primaryFieldName ?? "id";
  const vector = body.vectorFieldName ?? "vector";
  if (body.dimension === undefined) {
    throw new VdbError(
      "missing_field",
      "missing required parameters, error: dimension is required without schema.fields",
    );
  }
  const dynamic = params.enableDynamicField ?? body.schema?.enableDynamicField ?? true;
  return {
    fields: [
      fieldSpec({
        ...EMPTY_FIELD,
        fieldName: primary,
        dataType: idType,
        isPrimary: true,
        elementTypeParams: params.max_length === undefined ? undefined : { max_length: params.max_length },
      }),
      fieldSpec({
        ...EMPTY_FIELD,
        fieldName: vector,
        dataType: "FloatVector",
        elementTypeParams: { dim: dimensionOf(vector, body.dimension) },
      }),
    ],
    autoId: body.autoID ?? body.schema?.autoID ?? body.schema?.autoId ?? false,
    enableDynamicField: String(dynamic) === "true",
  };
}

const EMPTY_FIELD = {
  description: undefined,
  isPrimary: undefined,
  isPartitionKey: undefined,
  isClusteringKey: undefined,
  autoID: undefined,
  nullable: undefined,
  defaultValue: undefined,
  elementDataType: undefined,
} as const;

function givenSchema(body: CreateCollectionBody): SchemaParts {
  const schema = body.schema!;
  const bodies = schema.fields!;
  const stray = bodies.find((field) => field.autoID === true && field.isPrimary !== true);
  if (stray !== undefined)
    throw invalid(`only primary field can speficy AutoID with true, field name = ${stray.fieldName}`);
  return {
    fields: bodies.map(fieldSpec),
    autoId: schema.autoID ?? schema.autoId ?? bodies.some((field) => field.autoID === true),
    enableDynamicField: schema.enableDynamicField ?? false,
  };
}

function checkFields(fields: readonly FieldSpec[]): void {
  if (fields.length > FIELDS_MAX) {
    throw new VdbError("unexpected", `maximum field's number should be limited to ${FIELDS_MAX}, got ${fields.length}`);
  }
  const names = new Set<string>();
  for (const { name } of fields) {
    if (names.has(name)) throw invalid(`duplicated field name ${name}`);
    names.add(name);
  }
  const primaries = fields.filter(({ isPrimary }) => isPrimary).map(({ name }) => name);
  if (primaries.length === 0) throw invalid("primary key is not specified: one field must have isPrimary");
  if (primaries.length > 1) throw invalid(`there are more than one primary key, field name = ${primaries.join(", ")}`);
  refuseSecond("partition key", fields, ({ isPartitionKey }) => isPartitionKey === true);
  refuseSecond("clustering key", fields, ({ isClusteringKey }) => isClusteringKey === true);
  checkAnalyzedBy(fields);
  const vectors = fields.filter(({ type }) => isVectorType(type));
  if (vectors.length === 0) throw invalid("schema does not contain vector field");
  if (vectors.length > VECTOR_FIELDS_MAX) {
    throw new VdbError(
      "unexpected",
      `maximum vector field's number should be limited to ${VECTOR_FIELDS_MAX}, got ${vectors.length}`,
    );
  }
}

function refuseSecond(what: string, fields: readonly FieldSpec[], isSuch: (field: FieldSpec) => boolean): void {
  const names = fields.filter(isSuch).map(({ name }) => name);
  if (names.length > 1) throw invalid(`there are more than one ${what}, field name = ${names.join(", ")}`);
}

/** The field that names a row's analyzer must be there. */
function checkAnalyzedBy(fields: readonly FieldSpec[]): void {
  for (const field of fields) {
    if (field.enableAnalyzer !== true) continue;
    const { byField } = fieldAnalyzer(field);
    if (byField === undefined || fields.some(({ name, type }) => name === byField && type === "VarChar")) continue;
    throw invalid(
      `multi_analyzer_params of field ${field.name}: by_field ${byField} is no VarChar field of the schema`,
    );
  }
}

/** The hidden field that keeps what rows carry beyond the schema. Never null: a row without such keys has `{}`. */
function dynamicField(): FieldSpec {
  return {
    name: DYNAMIC_FIELD,
    type: "JSON",
    description: "dynamic schema",
    isPrimary: false,
    nullable: false,
    isDynamic: true,
  };
}

function shardCount(given: unknown): number {
  if (given === undefined) return 1;
  const value = wholeNumber(given);
  if (value !== undefined && value >= 1 && value <= SHARDS_MAX) return value;
  throw new VdbError(
    "invalid_parameter",
    `invalid params.shardsNum: maximum shards's number should be limited to ${SHARDS_MAX}, expected a whole number in [1, ${SHARDS_MAX}], got ${show(given)}`,
    { details: { field: "params.shardsNum" } },
  );
}

/** Partitions that rows are spread over by their key. @throws VdbError invalid_parameter, unexpected */
function partitionCount(fields: readonly FieldSpec[], given: unknown): { partitionCount?: number } {
  const isKeyed = fields.some(({ isPartitionKey }) => isPartitionKey === true);
  if (given === undefined) return isKeyed ? { partitionCount: KEY_PARTITIONS_DEFAULT } : {};
  const value = wholeNumber(given);
  if (value === undefined || value < 0) {
    throw invalid(
      `invalid params.partitionsNum: expected a whole number in [1, ${PARTITIONS_MAX}], got ${show(given)}`,
    );
  }
  if (!isKeyed) {
    // Some clients send 0 or 1 for what they do not mean to set.
    if (value <= 1) return {};
    throw invalid("num_partitions should only be specified with partition key field enabled");
  }
  if (value > PARTITIONS_MAX) {
    throw new VdbError("unexpected", `partition number (${value}) exceeds max configuration (${PARTITIONS_MAX})`);
  }
  return { partitionCount: value === 0 ? KEY_PARTITIONS_DEFAULT : value };
}

function quickIndex(body: CreateCollectionBody, fields: readonly FieldSpec[]): IndexRequest {
  const vector = fields.find(({ type }) => type === "FloatVector")!;
  const metric = metricOf(body.metricType);
  return { name: vector.name, fieldName: vector.name, type: "AUTOINDEX", metric, params: {} };
}

function givenIndexes(body: CreateCollectionBody, fields: readonly FieldSpec[]): IndexRequest[] {
  const requests = (body.indexParams ?? []).map((index) => indexRequest(index, fields));
  const seen = new Set<string>();
  for (const { fieldName, params } of requests) {
    // Of JSON one a path.
    const place = `${fieldName}${params.json_path ?? ""}`;
    if (seen.has(place)) {
      throw new VdbError("unexpected", "CreateIndex failed: creating multiple indexes on same field is not supported", {
        details: { field: fieldName },
      });
    }
    seen.add(place);
  }
  return requests;
}
