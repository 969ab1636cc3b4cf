/** Properties of a collection: which there are, and what they may be. */
import { VdbError } from "../../../runtime/errors.ts";
import type { CollectionDoc } from "../../../runtime/protocol/catalog.ts";
import { type FieldSchema, vectorFields } from "../../../runtime/schema.ts";
import { TTL_PROPERTY, TTL_SECONDS_MAX, TTL_SECONDS_MIN } from "../../../runtime/ttl.ts";
import { invalid } from "./field-spec.ts";
import {
  amount,
  checkProperties,
  flag,
  type GivenProperties,
  oneOf,
  type PropertyCheck,
  text,
  timeZone,
  whole,
} from "./properties.ts";

export const REPLICAS_PROPERTY = "collection.replica.number";
export const GROUPS_PROPERTY = "collection.resource_groups";
export const ISOLATION_PROPERTY = "partitionkey.isolation";
export const DYNAMIC_PROPERTY = "dynamicfield.enabled";
const QUERY_MODE_PROPERTY = "query_mode";

const WARMUP = oneOf("sync", "disable", "async");

const CHECKS: Readonly<Record<string, PropertyCheck>> = {
  [TTL_PROPERTY]: whole(TTL_SECONDS_MIN, TTL_SECONDS_MAX),
  "collection.autocompaction.enabled": flag,
  "collection.insertRate.max.mb": amount,
  "collection.insertRate.min.mb": amount,
  "collection.upsertRate.max.mb": amount,
  "collection.upsertRate.min.mb": amount,
  "collection.deleteRate.max.mb": amount,
  "collection.deleteRate.min.mb": amount,
  "collection.bulkLoadRate.max.mb": amount,
  "collection.bulkLoadRate.min.mb": amount,
  "collection.queryRate.max.qps": amount,
  "collection.queryRate.min.qps": amount,
  "collection.searchRate.max.vps": amount,
  "collection.searchRate.min.vps": amount,
  "collection.diskProtection.diskQuota.mb": amount,
  "partition.diskProtection.diskQuota.mb": amount,
  [REPLICAS_PROPERTY]: whole(1, 1024),
  [GROUPS_PROPERTY]: text,
  "mmap.enabled": flag,
  "lazyload.enabled": flag,
  load_priority: oneOf("high", "low"),
  [ISOLATION_PROPERTY]: flag,
  "field.skipLoad": flag,
  "indexoffsetcache.enabled": flag,
  "replicate.id": text,
  [DYNAMIC_PROPERTY]: flag,
  "namespace.enabled": (key, given) => {
    if (flag(key, given) === "false") return "false";
    throw invalid("namespace.enabled is not supported: use a partition key");
  },
  timezone: timeZone,
  allow_insert_auto_id: flag,
  disable_func_runtime_check: flag,
  [QUERY_MODE_PROPERTY]: oneOf("large_topk", ""),
  warmup: WARMUP,
  "warmup.scalarField": WARMUP,
  "warmup.scalarIndex": WARMUP,
  "warmup.vectorField": WARMUP,
  "warmup.vectorIndex": WARMUP,
  "collection.function.allowInsertNonBM25FunctionOutputs": flag,
};

/** What a collection has beside its properties, altered as if it were one. */
const ATTRIBUTES: Readonly<Record<string, PropertyCheck>> = {
  consistency_level: oneOf("Strong", "Session", "Bounded", "Eventually"),
  "collection.description": text,
};

/** @throws VdbError invalid_parameter */
export function alteredCollectionProperties(given: GivenProperties): Record<string, string> {
  return checkProperties(given, { ...CHECKS, ...ATTRIBUTES });
}

/** @throws VdbError invalid_parameter */
export function collectionProperties(given: GivenProperties): Record<string, string> {
  return checkProperties(given, CHECKS);
}

/** Keys to forget: those that mean something. @throws VdbError invalid_parameter */
export function collectionPropertyKeys(keys: readonly string[]): string[] {
  for (const key of keys) if (!Object.hasOwn(CHECKS, key)) throw invalid(`property ${key} is not supported`);
  return [...keys];
}

/** What cannot change while it is in use. @throws VdbError collection_loaded, index_duplicate, invalid_parameter */
export function checkPropertyChange(
  { name, loaded, indexes, schema }: CollectionDoc,
  { set, remove }: { set: Readonly<Record<string, string>>; remove: readonly string[] },
): void {
  const changes = (key: string) => set[key] !== undefined || remove.includes(key);
  if (loaded !== undefined && (changes("mmap.enabled") || changes("lazyload.enabled"))) {
    throw new VdbError("collection_loaded", `can not alter mmap properties if collection loaded[collection=${name}]`);
  }
  for (const key of [ISOLATION_PROPERTY, QUERY_MODE_PROPERTY]) {
    const isVector = (fieldId: number) => vectorFields(schema).some((field) => field.fieldId === fieldId);
    if (!changes(key) || !indexes.some(({ fieldId }) => isVector(fieldId))) continue;
    throw new VdbError(
      "index_duplicate",
      `can not alter ${key} if the collection already has a vector index. Please drop the index first`,
    );
  }
  if (set[ISOLATION_PROPERTY] === "true") requirePartitionKey(schema.fields);
  if (changes(DYNAMIC_PROPERTY)) checkDynamic(schema.enableDynamicField, set[DYNAMIC_PROPERTY]);
}

/** @throws VdbError invalid_parameter */
export function requirePartitionKey(fields: readonly Pick<FieldSchema, "isPartitionKey">[]): void {
  if (fields.some(({ isPartitionKey }) => isPartitionKey === true)) return;
  throw invalid(
    "partition key isolation mode is enabled but no partition key field is set. Please set the partition key first",
  );
}

function checkDynamic(isEnabled: boolean, wanted: string | undefined): void {
  if (wanted === undefined) throw invalid(`cannot delete property ${DYNAMIC_PROPERTY}`);
  if (isEnabled && wanted === "false") throw invalid("dynamic schema cannot supported to be disabled");
}
