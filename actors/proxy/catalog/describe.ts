/** Collections and indexes as describe shows them: Milvus's shapes. */
import { hasIndexFile } from "../../../runtime/index-files.ts";
import type { Catalog } from "../../../runtime/meta/catalog.ts";
import type { CollectionDoc, IndexDefinition } from "../../../runtime/protocol/catalog.ts";
import { DEFAULT_GROUP } from "../../../runtime/resource-groups.ts";
import {
  type CollectionSchema,
  type FieldSchema,
  type FunctionSchema,
  isVectorType,
  type Scalar,
} from "../../../runtime/schema.ts";
import { formatTimestamptz } from "../../../runtime/timestamptz.ts";
import { schemaTimestamp } from "../write/schema-timestamp.ts";
import type { LoadState } from "./load-state.ts";

interface KeyValue {
  key: string;
  value: string;
}

/** Timestamps as decimal text: they are beyond what JSON numbers hold exactly. */
export function describedCollection(collection: CollectionDoc, load: LoadState): Record<string, unknown> {
  const { schema, loaded } = collection;
  return {
    dbName: collection.database,
    collectionName: collection.name,
    collectionID: collection.collectionId,
    description: collection.description,
    autoId: schema.autoId,
    load: load.loadState,
    shardsNum: collection.shards.length,
    partitionsNum: collection.partitions.length,
    schemaVersion: schema.version,
    createdTimestamp: String(collection.createdAt),
    updateTimestamp: String(schemaTimestamp(collection)),
    virtualChannelNames: collection.shards.map(({ vchannel }) => vchannel),
    physicalChannelNames: collection.shards.map(({ pchannel }) => `wal-${pchannel}`),
    replicas: Array.from({ length: loaded?.replicaNumber ?? 0 }, (_, replica) => ({
      resourceGroup: loaded?.resourceGroups?.[replica] ?? DEFAULT_GROUP,
    })),
    consistencyLevel: collection.consistencyLevel,
    enableDynamicField: schema.enableDynamicField,
    properties: keyValues(collection.properties),
    aliases: collection.aliases ?? [],
    functions: (schema.functions ?? []).map((each) => describedFunction(schema, each)),
    indexes: collection.indexes.map((index) => ({
      indexName: index.name,
      fieldName: fieldName(collection, index),
      metricType: metricOf(schema, index),
    })),
    fields: schema.fields
      .filter(({ isDynamic }) => !isDynamic)
      .map((field) => describedField(field, field.isPrimary && schema.autoId)),
  };
}

function describedFunction(schema: CollectionSchema, each: FunctionSchema): Record<string, unknown> {
  const names = (fieldIds: readonly number[]) =>
    fieldIds.map((id) => schema.fields.find(({ fieldId }) => fieldId === id)?.name ?? "");
  return {
    name: each.name,
    id: each.functionId,
    description: each.description,
    type: each.type,
    inputFieldNames: names(each.inputFieldIds),
    outputFieldNames: names(each.outputFieldIds),
    params: keyValues(each.params),
  };
}

function describedField(field: FieldSchema, autoId: boolean): Record<string, unknown> {
  const params: Record<string, string | number | boolean> = {};
  if (field.maxLength !== undefined) params.max_length = field.maxLength;
  if (field.maxCapacity !== undefined) params.max_capacity = field.maxCapacity;
  if (field.dimension !== undefined) params.dim = field.dimension;
  if (field.mmapEnabled !== undefined) params["mmap.enabled"] = field.mmapEnabled;
  if (field.enableAnalyzer === true) params.enable_analyzer = true;
  if (field.enableMatch === true) params.enable_match = true;
  if (field.analyzerParams !== undefined) params.analyzer_params = field.analyzerParams;
  if (field.multiAnalyzerParams !== undefined) params.multi_analyzer_params = field.multiAnalyzerParams;
  return {
    name: field.name,
    id: field.fieldId,
    type: field.type,
    ...(field.elementType === undefined ? {} : { elementType: field.elementType }),
    primaryKey: field.isPrimary,
    partitionKey: field.isPartitionKey === true,
    clusteringKey: field.isClusteringKey === true,
    autoId,
    nullable: field.nullable,
    ...(field.defaultValue === undefined ? {} : { defaultValue: shownDefault(field, field.defaultValue) }),
    description: field.description,
    isFunctionOutput: field.isFunctionOutput === true,
    params: keyValues(params),
  };
}

function shownDefault({ type }: FieldSchema, value: Scalar): Scalar {
  return type === "Timestamptz" ? formatTimestamptz(BigInt(value)) : value;
}

/** Rows count as indexed when their segment has the index, or is too small to get one: those are searched exactly. */
export function describedIndex(
  catalog: Catalog,
  collection: CollectionDoc,
  index: IndexDefinition,
  indexRowsMin: number,
): Record<string, unknown> {
  let totalRows = 0;
  let indexedRows = 0;
  const isBuilt = hasIndexFile(collection, index);
  const metric = metricOf(collection.schema, index);
  for (const { vchannel } of collection.shards) {
    for (const segment of catalog.manifest(vchannel)?.segments ?? []) {
      totalRows += segment.rowCount;
      const isIndexed = segment.indexes[index.fieldId]?.indexId === index.indexId;
      // FLAT is the exact scan that a segment without an index gets anyway.
      if (isIndexed || index.type === "FLAT" || !isBuilt || segment.rowCount < indexRowsMin)
        indexedRows += segment.rowCount;
    }
  }
  return {
    indexName: index.name,
    indexID: index.indexId,
    fieldName: fieldName(collection, index),
    indexType: index.type,
    metricType: metric,
    ...shownProperties(index.properties ?? {}),
    totalRows,
    indexedRows,
    pendingRows: totalRows - indexedRows,
    indexState: indexedRows === totalRows ? "Finished" : "InProgress",
    failReason: "",
    minIndexVersion: 0,
    maxIndexVersion: 0,
    indexParams: keyValues({
      index_type: index.type,
      ...(metric === "" ? {} : { metric_type: metric }),
      ...index.params,
      ...index.properties,
    }),
  };
}

/** Empty for scalar indexes: they have none. */
function metricOf({ fields }: CollectionSchema, { fieldId, metric }: IndexDefinition): string {
  const type = fields.find((field) => field.fieldId === fieldId)?.type;
  return type !== undefined && isVectorType(type) ? metric : "";
}

/** Those that have a place of their own; a warm-up is among the parameters. */
function shownProperties(properties: Readonly<Record<string, string>>): Record<string, boolean> {
  const shown = ["mmap.enabled", "indexoffsetcache.enabled"].filter((key) => properties[key] !== undefined);
  return Object.fromEntries(shown.map((key) => [key, properties[key] === "true"]));
}

function fieldName(collection: CollectionDoc, index: IndexDefinition): string {
  return collection.schema.fields.find(({ fieldId }) => fieldId === index.fieldId)?.name ?? "";
}

export function keyValues(values: Readonly<Record<string, string | number | boolean>>): KeyValue[] {
  return Object.entries(values).map(([key, value]) => ({ key, value: String(value) }));
}
