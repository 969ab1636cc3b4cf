/** Collections and indexes as describe shows them: Milvus's shapes. */
import type { Catalog } from "../../runtime/meta/catalog.ts";
import type { CollectionDoc, IndexDefinition } from "../../runtime/protocol/catalog.ts";
import type { FieldSchema } from "../../runtime/schema.ts";
import type { LoadState } from "./load-state.ts";

interface KeyValue {
  key: string;
  value: string;
}

export function describedCollection(collection: CollectionDoc, load: LoadState): Record<string, unknown> {
  const { schema } = collection;
  return {
    collectionName: collection.name,
    collectionID: collection.collectionId,
    description: collection.description,
    autoId: schema.autoId,
    load: load.loadState,
    shardsNum: collection.shards.length,
    partitionsNum: collection.partitions.length,
    consistencyLevel: collection.consistencyLevel,
    enableDynamicField: schema.enableDynamicField,
    properties: keyValues(collection.properties),
    aliases: [],
    functions: [],
    indexes: collection.indexes.map((index) => ({
      indexName: index.name,
      fieldName: fieldName(collection, index),
      metricType: index.metric,
    })),
    fields: schema.fields
      .filter(({ isDynamic }) => !isDynamic)
      .map((field) => describedField(field, field.isPrimary && schema.autoId)),
  };
}

function describedField(field: FieldSchema, autoId: boolean): Record<string, unknown> {
  const params: Record<string, number> = {};
  if (field.maxLength !== undefined) params.max_length = field.maxLength;
  if (field.maxCapacity !== undefined) params.max_capacity = field.maxCapacity;
  if (field.dimension !== undefined) params.dim = field.dimension;
  return {
    name: field.name,
    id: field.fieldId,
    type: field.type,
    ...(field.elementType === undefined ? {} : { elementType: field.elementType }),
    primaryKey: field.isPrimary,
    partitionKey: false,
    clusteringKey: false,
    autoId,
    nullable: field.nullable,
    ...(field.defaultValue === undefined ? {} : { defaultValue: field.defaultValue }),
    description: field.description,
    isFunctionOutput: false,
    params: keyValues(params),
  };
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
  for (const { vchannel } of collection.shards) {
    for (const segment of catalog.manifest(vchannel)?.segments ?? []) {
      totalRows += segment.rowCount;
      const isIndexed = segment.indexes[index.fieldId]?.indexId === index.indexId;
      // FLAT is the exact scan that a segment without an index gets anyway.
      if (isIndexed || index.type === "FLAT" || segment.rowCount < indexRowsMin) indexedRows += segment.rowCount;
    }
  }
  return {
    indexName: index.name,
    fieldName: fieldName(collection, index),
    indexType: index.type,
    metricType: index.metric,
    totalRows,
    indexedRows,
    pendingRows: totalRows - indexedRows,
    indexState: indexedRows === totalRows ? "Finished" : "InProgress",
    failReason: "",
    minIndexVersion: 0,
    maxIndexVersion: 0,
    indexParams: keyValues({ index_type: index.type, metric_type: index.metric, ...index.params }),
  };
}

function fieldName(collection: CollectionDoc, index: IndexDefinition): string {
  return collection.schema.fields.find(({ fieldId }) => fieldId === index.fieldId)?.name ?? "";
}

function keyValues(values: Readonly<Record<string, string | number | boolean>>): KeyValue[] {
  return Object.entries(values).map(([key, value]) => ({ key, value: String(value) }));
}
