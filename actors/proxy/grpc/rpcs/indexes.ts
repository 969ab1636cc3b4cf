/** Indexes of vector and scalar fields. */
import { isVdbError, VdbError } from "../../../../runtime/errors.ts";
import * as api from "../../../../runtime/protocol/public.ts";
import { type GrpcCall, type GrpcFront, type Rpc, rpc } from "../rpc.ts";
import { shownCollection } from "./collections.ts";
import { dataOf, given, type KeyValue, type NamedCollection, recordOf } from "./shapes.ts";

interface IndexRequest extends NamedCollection {
  /** Not of every request about indexes. */
  fieldName?: string;
  indexName: string;
}

interface CreateRequest extends IndexRequest {
  fieldName: string;
  extraParams: KeyValue[];
}

interface AlterRequest extends CreateRequest {
  deleteKeys: string[];
}

/** As indexes/describe shows it. */
interface ShownIndex {
  indexName: string;
  indexID: number;
  fieldName: string;
  totalRows: number;
  indexedRows: number;
  pendingRows: number;
  indexState: string;
  failReason: string;
  indexParams: KeyValue[];
}

/** Given with an index, but no part of what it is: they can be altered. */
const PROPERTIES = new Set(["mmap.enabled", "indexoffsetcache.enabled", "warmup"]);

export const indexRpcs: Rpc[] = [
  rpc("CreateIndex", createIndex),
  rpc("AlterIndex", async (front, request: AlterRequest, call) => {
    const { dbName, collectionName, indexName, extraParams, deleteKeys } = request;
    const name = { dbName, collectionName, indexName };
    if (extraParams.length > 0 && deleteKeys.length > 0) {
      throw new VdbError("invalid_parameter", "cannot provide both DeleteKeys and ExtraParams");
    }
    if (deleteKeys.length > 0) await front.ask(api.dropIndexProperties, { ...name, propertyKeys: deleteKeys }, call);
    else await front.ask(api.alterIndexProperties, { ...name, properties: recordOf(extraParams) }, call);
  }),
  rpc("DescribeIndex", async (front, request: IndexRequest, call) => {
    return { indexDescriptions: (await shownIndexes(front, request, call)).map(description) };
  }),
  rpc("GetIndexStatistics", async (front, request: IndexRequest, call) => {
    return { indexDescriptions: (await shownIndexes(front, request, call)).map(description) };
  }),
  rpc("GetIndexState", async (front, request: IndexRequest, call) => {
    const [index] = await shownIndexes(front, request, call);
    return { state: index!.indexState, failReason: index!.failReason };
  }),
  rpc("GetIndexBuildProgress", async (front, request: IndexRequest, call) => {
    const [index] = await shownIndexes(front, request, call);
    return { indexedRows: index!.indexedRows, totalRows: index!.totalRows };
  }),
  rpc("DropIndex", dropIndex),
];

/** Parameters are flat, or JSON in one named `params`, or both. */
async function createIndex(front: GrpcFront, request: CreateRequest, call: GrpcCall): Promise<void> {
  const { dbName, collectionName, fieldName, extraParams } = request;
  const { index_type, metric_type, params, ...flat } = recordOf(extraParams);
  const all: Record<string, unknown> = { ...flat, ...parseParams(params) };
  const properties: Record<string, unknown> = {};
  for (const key of Object.keys(all)) {
    if (!PROPERTIES.has(key)) continue;
    properties[key] = all[key];
    delete all[key];
  }
  const name = { dbName, collectionName };
  const { fields, enableDynamicField } = await shownCollection(front, name, call);
  const path = fieldName.split("[", 1)[0];
  if (!enableDynamicField && !fields.some((field) => field.name === path)) {
    throw new VdbError("invalid_parameter", `cannot create index on non-exist field: ${fieldName}`);
  }
  const index = {
    fieldName,
    indexName: given(request.indexName),
    indexType: given(index_type ?? ""),
    metricType: given(metric_type ?? ""),
    params: all,
  };
  await front.ask(api.createIndex, { ...name, indexParams: [index] }, call);
  if (Object.keys(properties).length === 0) return;
  const indexName = request.indexName === "" ? fieldName : request.indexName;
  await front.ask(api.alterIndexProperties, { ...name, indexName, properties }, call);
}

/** @throws VdbError invalid_parameter */
function parseParams(text: string | undefined): Record<string, unknown> {
  if (text === undefined || text === "") return {};
  try {
    const parsed: unknown = JSON.parse(text);
    if (typeof parsed === "object" && parsed !== null && !Array.isArray(parsed))
      return parsed as Record<string, unknown>;
  } catch {
    // Said below.
  }
  throw new VdbError("invalid_parameter", `params of the index should be a JSON object, got ${text}`);
}

/** Those of the name, else of the field, else all; at least one. @throws VdbError index_not_found */
async function shownIndexes(front: GrpcFront, request: IndexRequest, call: GrpcCall): Promise<ShownIndex[]> {
  const { dbName, collectionName, fieldName = "", indexName } = request;
  const name = { dbName, collectionName };
  const names = indexName === "" ? dataOf<string[]>(await front.ask(api.listIndexes, name, call)) : [indexName];
  const shown: ShownIndex[] = [];
  for (const each of names) {
    try {
      shown.push(...dataOf<ShownIndex[]>(await front.ask(api.describeIndex, { ...name, indexName: each }, call)));
    } catch (error) {
      // Dropped since it was listed.
      if (indexName !== "" || !isVdbError(error, "index_not_found")) throw error;
    }
  }
  const found = fieldName === "" ? shown : shown.filter((index) => index.fieldName === fieldName);
  if (found.length > 0) return found;
  throw new VdbError("index_not_found", `index not found[collection=${collectionName}]`);
}

/** Some clients read an index's parameters flat, others as the JSON that they sent. */
function shownParams(pairs: readonly KeyValue[]): KeyValue[] {
  const { index_type, metric_type, ...rest } = recordOf(pairs);
  const own = Object.entries(rest).filter(([key]) => !PROPERTIES.has(key));
  return own.length === 0 ? [...pairs] : [...pairs, { key: "params", value: JSON.stringify(Object.fromEntries(own)) }];
}

function description(index: ShownIndex): Record<string, unknown> {
  return {
    indexName: index.indexName,
    indexID: index.indexID,
    fieldName: index.fieldName,
    params: shownParams(index.indexParams),
    indexedRows: index.indexedRows,
    totalRows: index.totalRows,
    pendingIndexRows: index.pendingRows,
    state: index.indexState,
    indexStateFailReason: index.failReason,
  };
}

/** By its name; one that is named by its field alone may be called anything. Of none: nothing to do, as in Milvus. */
async function dropIndex(front: GrpcFront, request: IndexRequest, call: GrpcCall): Promise<void> {
  const { dbName, collectionName, fieldName = "", indexName } = request;
  const name = { dbName, collectionName };
  if (indexName !== "" || fieldName === "") {
    await front.ask(api.dropIndex, { ...name, indexName }, call);
    return;
  }
  const shown = await shownIndexes(front, request, call).catch((error: unknown) => {
    if (isVdbError(error, "index_not_found")) return [];
    throw error;
  });
  for (const index of shown) await front.ask(api.dropIndex, { ...name, indexName: index.indexName }, call);
}
