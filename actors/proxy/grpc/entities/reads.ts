/** Search, HybridSearch, Query. */
import { VdbError } from "../../../../runtime/errors.ts";
import {
  hybridSearchEntities,
  type PublicReply,
  queryEntities,
  searchEntities,
} from "../../../../runtime/protocol/public.ts";
import type { ReplyColumns } from "../../reply-columns.ts";
import type { HitColumns } from "../../search/hit-columns.ts";
import type { GrpcFront, Rpc } from "../rpc.ts";
import {
  type HybridSearchRequest,
  type QueryRequest,
  readHybridSearch,
  readQuery,
  readSearch,
  type SearchRequest,
} from "../wire/requests.ts";
import { encodeQueryResults, encodeSearchResults, type QueryAnswer, type SearchAnswer } from "../wire/results.ts";
import {
  flagAt,
  freshnessFields,
  functionScoreOf,
  integerAt,
  type KeyValues,
  objectAt,
  refuseNamespace,
  sessionOf,
  without,
} from "./key-values.ts";

/** Keys of search_params that a body has a field for, or that say nothing here. */
const SEARCH_KEYS = ["anns_field", "topk", "limit", "offset", "params", "timezone", "collection_id"];

/** As Milvus's own clients have it where a request says nothing. */
const LIMIT_DEFAULT = 10;

/** What every read's body has of its request. */
function readFields(request: QueryRequest | SearchRequest | HybridSearchRequest, timezone: string | undefined) {
  const { dbName, collectionName, partitionNames, outputFields, namespace } = request;
  refuseNamespace(namespace);
  return {
    ...{ dbName, collectionName, partitionNames, outputFields, timezone },
    ...freshnessFields(request),
    resultFormat: "columns",
  };
}

/** What a search is for. @throws VdbError invalid_parameter */
function searchFields({ params, filter, exprParams, queries, ids }: SearchRequest): Record<string, unknown> {
  const isById = ids !== undefined && ids.length > 0;
  if (!isById && (queries === undefined || queries.values.length === 0)) {
    throw new VdbError(
      "invalid_parameter",
      "nq [0] is invalid, nq (number of search vector per search request) should be in range [1, 16384]",
    );
  }
  return {
    ...(isById ? { ids } : { data: queries?.values, queryType: queries?.type ?? "VarChar" }),
    annsField: params.anns_field,
    limit: integerAt(params, "topk") ?? integerAt(params, "limit") ?? LIMIT_DEFAULT,
    filter,
    exprParams,
    searchParams: { ...without(params, SEARCH_KEYS), params: objectAt(params, "params") ?? {} },
  };
}

const search: Rpc<SearchRequest, SearchAnswer> = {
  name: "Search",
  decode: readSearch,
  encode: encodeSearchResults,
  async handle(front, request, call) {
    const { params, highlighter, functionScore } = request;
    const fields = searchFields(request);
    const body = {
      ...readFields(request, params.timezone),
      ...fields,
      offset: integerAt(params, "offset") ?? 0,
      functionScore: functionScoreOf(functionScore),
      highlighter: highlighter && { type: highlighter.type, params: highlighter.params },
    };
    const reply = await front.ask(searchEntities, body, call);
    return searchAnswer(front, request, fields.limit as number, reply);
  },
};

/** Keys of rank_params that a body has a field for. */
const RANK_KEYS = ["strategy", "params", "limit", "offset"];

const hybridSearch: Rpc<HybridSearchRequest, SearchAnswer> = {
  name: "HybridSearch",
  decode: readHybridSearch,
  encode: encodeSearchResults,
  async handle(front, request, call) {
    const { searches, rankParams, functionScore } = request;
    const limit = integerAt(rankParams, "limit") ?? LIMIT_DEFAULT;
    const strategy = rankParams.strategy ?? "";
    const rerank = strategy === "" ? undefined : { strategy, params: objectAt(rankParams, "params") ?? {} };
    const body = {
      ...readFields(request, rankParams.timezone),
      search: searches.map((each) => ({ ...searchFields(each), functionScore: functionScoreOf(each.functionScore) })),
      limit,
      offset: integerAt(rankParams, "offset") ?? 0,
      rerank,
      functionScore: functionScoreOf(functionScore),
      searchParams: without(rankParams, RANK_KEYS),
    };
    const reply = await front.ask(hybridSearchEntities, body, call);
    return searchAnswer(front, request, limit, reply);
  },
};

function searchAnswer(
  front: GrpcFront,
  { collectionName, outputFields }: SearchRequest | HybridSearchRequest,
  topK: number,
  { data, topks, sessionTs, searchIteratorV2Results }: PublicReply,
): SearchAnswer {
  const hits = data as HitColumns;
  return {
    ...{ collectionName, hits, topK },
    topks: topks as number[],
    outputFields: shownNames(outputFields, hits),
    sessionTs: sessionOf(front, sessionTs),
    iterator: searchIteratorV2Results as SearchAnswer["iterator"],
  };
}

/** The names that were asked for, once each; those of all fields for `*`. */
function shownNames(asked: readonly string[], { columns }: ReplyColumns): string[] {
  return [
    ...new Set(asked.flatMap((name) => (name.trim() === "*" ? columns.map((column) => column.name) : [name.trim()]))),
  ];
}

const query: Rpc<QueryRequest, QueryAnswer> = {
  name: "Query",
  decode: readQuery,
  encode: encodeQueryResults,
  async handle(front, request, call) {
    const { params, filter, exprParams, collectionName, outputFields } = request;
    const limit = integerAt(params, "limit");
    // Without a limit, or with -1, all that matches is meant.
    const page = limit === undefined || limit === -1 ? { isUnlimited: true } : { limit };
    const body = {
      ...readFields(request, params.timezone),
      ...{ filter, exprParams, ...page },
      offset: integerAt(params, "offset") ?? 0,
      ...(flagAt(params, "iterator") ? { iterator: true } : {}),
      ...listsOf(params),
    };
    const { data, sessionTs } = await front.ask(queryEntities, body, call);
    const columns = data as ReplyColumns;
    const names =
      outputFields.length === 0 ? columns.columns.map(({ name }) => name) : shownNames(outputFields, columns);
    return { collectionName, data: columns, outputFields: names, sessionTs: sessionOf(front, sessionTs) };
  },
};

/** Aggregations and orders, as newer clients write them: names in a JSON list, or between commas. */
function listsOf(params: KeyValues): Record<string, unknown> {
  const groupByFields = namesAt(params, "group_by_fields");
  const orderByFields = namesAt(params, "order_by_fields");
  return {
    ...(groupByFields.length === 0 ? {} : { groupByFields }),
    ...(orderByFields.length === 0 ? {} : { orderByFields }),
  };
}

function namesAt(params: KeyValues, name: string): string[] {
  const text = params[name]?.trim() ?? "";
  if (!text.startsWith("["))
    return text
      .split(",")
      .map((each) => each.trim())
      .filter((each) => each !== "");
  return Object.values(objectAt({ [name]: `{"list":${text}}` }, name)!.list as string[]);
}

export const readRpcs = [search, hybridSearch, query] as Rpc[];
