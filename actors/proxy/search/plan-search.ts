/**
 * Turns the body of entities/search into what each shard is asked for, checked against the collection and its index.
 */
import { z } from "zod";
import { checkIndexParams, checkSearchParams } from "../../../runtime/ann/index-params.ts";
import type { Call } from "../../../runtime/bus/bus.ts";
import { VdbError } from "../../../runtime/errors.ts";
import type { CollectionDoc } from "../../../runtime/protocol/catalog.ts";
import type { Boost, Freshness, RowOrder, VectorSearch } from "../../../runtime/protocol/values.ts";
import { type FieldSchema, isVectorType, type VectorType, vectorFields } from "../../../runtime/schema.ts";
import { rowWidth } from "../../../runtime/segment/column.ts";
import { freshnessOf } from "../consistency.ts";
import type { ProxyContext } from "../context.ts";
import { type OutputFields, outputFieldsOf, rowShapeOf } from "../output-fields.ts";
import { checkHits, checkWindow } from "../page.ts";
import { CollectionBody, optional } from "../parse-body.ts";
import { requireIsolated } from "../partition-keys.ts";
import { OrderByFields, rowOrderOf } from "../query/order-by.ts";
import { ReadFields } from "../query.ts";
import { FunctionScoreBody, type Ranker, rescoringOf } from "../rerank/ranker.ts";
import { partitionIdsOf } from "../resolve.ts";
import type { SearchTarget } from "./find-hits.ts";
import { type Grouping, groupingOf } from "./grouping.ts";
import { HighlighterBody } from "./highlight.ts";
import type { Page } from "./pages.ts";
import { checkQueryType } from "./query-type.ts";
import { queryColumnOf } from "./query-vectors.ts";
import { checkMetric, flagOf, type Range, rangeOf, roundDecimalOf, type Settings, settingsOf } from "./settings.ts";
import { sparseQueries } from "./sparse-queries.ts";

export const LIMIT_DEFAULT = 100;

const AnyRecord = z.record(z.string(), z.unknown());

/** What every search, of one field or hybrid, may say about its hits. */
export const HitFields = {
  ...ReadFields,
  limit: optional(z.int()),
  offset: optional(z.int()),
  searchParams: optional(AnyRecord),
  /** As older clients send them. */
  params: optional(AnyRecord),
  groupingField: optional(z.string()),
  groupSize: optional(z.int()),
  strictGroupSize: optional(z.boolean()),
  functionScore: optional(FunctionScoreBody),
  highlighter: optional(HighlighterBody),
};

export const SearchBody = CollectionBody.extend({
  ...HitFields,
  data: optional(z.unknown()),
  /** The type that the vectors of data are of; absent: whatever the field takes. */
  queryType: optional(z.string()),
  ids: optional(z.unknown()),
  annsField: optional(z.string()),
  filter: optional(z.string()),
  exprParams: optional(AnyRecord),
  /** Orders the nearest rows; it does not change which rows these are. */
  orderByFields: OrderByFields,
});
export type SearchBody = z.infer<typeof SearchBody>;

/** The part of the plan that needs no vectors: what to search, where, how fresh. */
export interface SearchScope {
  field: VectorField;
  settings: Settings;
  freshness: Freshness;
  /** Null: all. */
  partitionIds: number[] | null;
}

/** search.topK covers the offset. */
export interface SearchPlan extends SearchTarget {
  ranker: Ranker | undefined;
  grouping: Grouping | undefined;
  order: RowOrder;
  output: OutputFields;
  page: Page;
  roundDecimal: number;
}

/** @throws VdbError invalid_parameter, partition_not_found */
export function scopeOf(proxy: ProxyContext, collection: CollectionDoc, body: SearchBody): SearchScope {
  return {
    field: searchedField(collection, body.annsField),
    settings: settingsOf(body),
    freshness: freshnessOf(collection, proxy.sessions, body),
    partitionIds: partitionIdsOf(collection, body.partitionNames),
  };
}

/**
 * @param body with vectors in `data`, even when the request named ids
 * @throws VdbError invalid_parameter, missing_field, index_not_found, field_not_found, unexpected
 */
export async function planSearch(
  proxy: ProxyContext,
  collection: CollectionDoc,
  { field, settings, freshness, partitionIds }: SearchScope,
  body: SearchBody,
  call: Call,
): Promise<SearchPlan> {
  const { schema } = collection;
  const page = checkWindow(body.limit ?? LIMIT_DEFAULT, body.offset ?? 0, "topk");
  const topK = page.offset + page.limit;
  const index = collection.indexes.find(({ fieldId }) => fieldId === field.fieldId);
  // Loading needs an index of every vector field, so only a drop meanwhile leads here.
  if (index === undefined) throw new VdbError("index_not_found", `index not found[collection=${collection.name}]`);
  checkQueryType(body.queryType, field);
  const vectors =
    field.type === "SparseFloatVector"
      ? await sparseQueries(body.data, collection, field, index, {
          params: settings,
          clock: proxy.actor.clock,
          deadline: call.deadline,
        })
      : denseQueries(body.data, field);
  checkMetric(settings, index.metric);
  flagOf(settings, "page_retain_order");
  const spec = checkIndexParams(index.type, index.metric, field.dimension ?? 0, index.params, field.type);
  const range = rangeOf(settings, index.metric);
  const grouping = groupingOf(schema, body, settings, topK);
  const planFilter = (text: string, templateValues?: Record<string, unknown>) =>
    proxy.filterPlans.plan(collection, { text, templateValues, purpose: "query" });
  const filter = planFilter(body.filter ?? "", body.exprParams);
  requireIsolated(collection, filter);
  const order = rowOrderOf(schema, body.orderByFields);
  const { ranker, boost } = rescoringOf(body.functionScore, { schema, queryCount: vectors.queryCount, planFilter });
  checkHits([{ queryCount: vectors.queryCount, topK, group: grouping?.by }]);
  checkTogether({ field, range, grouping, ranker, boost, order });
  return {
    search: {
      fieldId: field.fieldId,
      metric: index.metric,
      ...vectors,
      topK,
      ...checkSearchParams(spec, settings, topK),
      ...range,
      ...(grouping === undefined ? {} : { group: grouping.by }),
      ...(boost === undefined ? {} : { boost }),
    },
    freshness,
    partitionIds,
    filter,
    ignoreGrowing: flagOf(settings, "ignore_growing"),
    ranker,
    grouping,
    order,
    output: { shape: rowShapeOf(proxy, collection, body), ...outputFieldsOf(schema, body.outputFields ?? []) },
    page,
    roundDecimal: roundDecimalOf(settings),
  };
}

/** Refuses options that exclude each other. @throws VdbError invalid_parameter, in Milvus's words */
function checkTogether(of: {
  field: VectorField;
  range: Range;
  grouping: Grouping | undefined;
  ranker: Ranker | undefined;
  boost: Boost | undefined;
  order: RowOrder;
}): void {
  if (of.grouping === undefined) return;
  const refuse = (message: string) => new VdbError("invalid_parameter", message);
  if (of.order.length > 0)
    throw refuse("orderByFields do not go with groups: these are in the order of their best rows");
  if (of.range.radius !== undefined) throw refuse("Not allowed to do range-search when doing search-group-by");
  if (of.field.type === "BinaryVector") {
    throw refuse("not support search_group_by operation based on binary vector column");
  }
  if (of.boost !== undefined) throw refuse("not support boost ranker in the search with group by");
  if (of.ranker?.kind === "decay") throw refuse("rerank function decay does not support grouping");
}

type VectorField = FieldSchema & { type: VectorType };

/** @throws VdbError missing_field, malformed_request, invalid_parameter */
function denseQueries(data: unknown, field: VectorField): Pick<VectorSearch, "vectorType" | "queries" | "queryCount"> {
  const column = queryColumnOf(data, field);
  if (column.kind === "sparseVector") throw new Error("sparse queries are not dense ones");
  const { values } = column;
  // Nodes of a version that knew no other type take FloatVector for granted.
  const about = field.type === "FloatVector" ? {} : { vectorType: field.type };
  return { queries: values, queryCount: values.length / rowWidth(column), ...about };
}

function searchedField(collection: CollectionDoc, name: string | undefined): VectorField {
  const fields = vectorFields(collection.schema) as VectorField[];
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
  if (isVectorType(field.type)) return field as VectorField;
  throw new VdbError(
    "invalid_parameter",
    `failed to create query plan: field (${name}) to search is not of vector data type`,
  );
}
