/** The body of entities/search as what to ask each shard for, checked against the collection and its index. */
import { z } from "zod";
import { checkIndexParams, checkSearchParams } from "../../runtime/ann/index-params.ts";
import { VdbError } from "../../runtime/errors.ts";
import type { FilterPlan } from "../../runtime/expr/plan.ts";
import type { CollectionDoc } from "../../runtime/protocol/catalog.ts";
import type { Freshness, VectorSearch } from "../../runtime/protocol/values.ts";
import { type FieldSchema, vectorFields } from "../../runtime/schema.ts";
import { freshnessOf } from "./consistency.ts";
import type { ProxyContext } from "./context.ts";
import { type OutputFields, outputFieldsOf } from "./output-fields.ts";
import { checkWindow } from "./page.ts";
import { CollectionBody, optional } from "./parse-body.ts";
import { ReadFields } from "./query.ts";
import { queryVectorsOf } from "./query-vectors.ts";
import { partitionIdsOf } from "./resolve.ts";

const LIMIT_DEFAULT = 100;

const AnyRecord = z.record(z.string(), z.unknown());

export const SearchBody = CollectionBody.extend({
  ...ReadFields,
  data: z.unknown(),
  ids: optional(z.unknown()),
  annsField: optional(z.string()),
  filter: optional(z.string()),
  exprParams: optional(AnyRecord),
  limit: optional(z.int()),
  offset: optional(z.int()),
  searchParams: optional(
    z.object({ metricType: optional(z.string()), metric_type: optional(z.string()), params: optional(AnyRecord) }),
  ),
  groupingField: optional(z.string()),
  functionScore: optional(z.unknown()),
});
export type SearchBody = z.infer<typeof SearchBody>;

export interface SearchPlan {
  /** topK covers the offset. */
  search: VectorSearch;
  freshness: Freshness;
  partitionIds: number[] | null;
  filter: FilterPlan | null;
  output: OutputFields;
  page: { limit: number; offset: number };
}

/** @throws VdbError invalid_parameter, missing_field, index_not_found, partition_not_found, unexpected */
export function planSearch(proxy: ProxyContext, collection: CollectionDoc, body: SearchBody): SearchPlan {
  refuseUnsupported(body);
  const { schema } = collection;
  const field = searchedField(collection, body.annsField);
  const page = checkWindow(body.limit ?? LIMIT_DEFAULT, body.offset ?? 0);
  const topK = page.offset + page.limit;
  const vectors = queryVectorsOf(body.data, field);
  const index = collection.indexes.find(({ fieldId }) => fieldId === field.fieldId);
  // Loading needs an index of every vector field, so only a drop meanwhile leads here.
  if (index === undefined) throw new VdbError("index_not_found", `index not found[collection=${collection.name}]`);
  refuseOtherMetric(body.searchParams?.metricType ?? body.searchParams?.metric_type, index.metric);
  const given = body.searchParams?.params ?? {};
  refuseRange(given);
  const spec = checkIndexParams(index.type, index.metric, field.dimension!, index.params);
  return {
    search: {
      fieldId: field.fieldId,
      metric: index.metric,
      queries: vectors.values,
      queryCount: vectors.count,
      topK,
      ...checkSearchParams(spec, given, topK),
    },
    freshness: freshnessOf(collection, proxy.sessions, body),
    partitionIds: partitionIdsOf(collection, body.partitionNames),
    filter: proxy.filterPlans.plan(collection, {
      text: body.filter ?? "",
      templateValues: body.exprParams,
      purpose: "query",
    }),
    output: outputFieldsOf(schema, body.outputFields ?? []),
    page,
  };
}

function searchedField(collection: CollectionDoc, name: string | undefined): FieldSchema {
  const fields = vectorFields(collection.schema);
  if (name === undefined || name === "") {
    const [only, another] = fields;
    if (only !== undefined && another === undefined) return only;
    throw new VdbError(
      "invalid_parameter",
      `multiple anns_fields exist, please specify a anns_field in search_params: one of ${fields.map((f) => f.name).join(", ")}`,
    );
  }
  const field = collection.schema.fields.find((candidate) => candidate.name === name);
  if (field === undefined) {
    throw new VdbError(
      "invalid_parameter",
      `failed to create query plan: failed to get field schema by name: fieldName(${name}) not found`,
    );
  }
  if (field.type === "FloatVector") return field;
  throw new VdbError(
    "invalid_parameter",
    `failed to create query plan: field (${name}) to search is not of vector data type`,
  );
}

function refuseOtherMetric(given: unknown, metric: string): void {
  if (given === undefined || given === "" || given === metric) return;
  throw new VdbError(
    "invalid_parameter",
    `metric type not match: invalid parameter[expected=${metric}][actual=${String(given)}]`,
  );
}

function refuseRange(params: Readonly<Record<string, unknown>>): void {
  for (const name of ["radius", "range_filter"]) {
    if (params[name] !== undefined)
      throw new VdbError("invalid_parameter", `search parameter ${name} is not supported yet`);
  }
}

/** Said so, rather than ignored: the hits would be others than those asked for. */
function refuseUnsupported(body: SearchBody): void {
  if (body.ids !== undefined) throw new VdbError("invalid_parameter", "search by ids is not supported yet");
  if (body.groupingField !== undefined && body.groupingField !== "") {
    throw new VdbError("invalid_parameter", "groupingField is not supported yet");
  }
  if (body.functionScore !== undefined) throw new VdbError("invalid_parameter", "functionScore is not supported yet");
}
