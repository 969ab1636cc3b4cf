/**
 * entities/hybrid_search (advanced_search): several searches of one collection, each with its own field, vectors, filter
 * and limit, asked at once and made one list by a reranker. Output fields are fetched for the final hits.
 */
import { z } from "zod";
import type { Call } from "../../../runtime/bus/bus.ts";
import { VdbError } from "../../../runtime/errors.ts";
import type { CollectionDoc } from "../../../runtime/protocol/catalog.ts";
import type { PublicReply } from "../../../runtime/protocol/public.ts";
import { freshnessOf } from "../consistency.ts";
import { type ProxyContext, success } from "../context.ts";
import { type OutputFields, outputFieldsOf, rowShapeOf } from "../output-fields.ts";
import { checkHits, checkWindow } from "../page.ts";
import { CollectionBody, optional } from "../parse-body.ts";
import { FunctionScoreBody, type Ranker, RerankBody, rescoringOf, strategyOf } from "../rerank/ranker.ts";
import { resolveLoaded } from "../resolve.ts";
import { findHits } from "./find-hits.ts";
import { type Grouping, groupingOf } from "./grouping.ts";
import { highlighterOf } from "./highlight.ts";
import { highlightReply } from "./hit-columns.ts";
import { GROUP_SCORERS, type GroupScorer, type Page, pageOf, pageOfGroups } from "./pages.ts";
import { HitFields, LIMIT_DEFAULT, planSearch, type SearchPlan, scopeOf } from "./plan-search.ts";
import { rankHits } from "./rank-hits.ts";
import { retryIfSegmentGone } from "./retry-if-segment-gone.ts";
import { roundDecimalOf, settingsOf } from "./settings.ts";
import { type ShownHits, showHits } from "./show-hits.ts";

const SEARCHES_MAX = 1_024;

const AnyRecord = z.record(z.string(), z.unknown());

const SubSearchBody = z.object({
  data: optional(z.unknown()),
  queryType: optional(z.string()),
  annsField: optional(z.string()),
  filter: optional(z.string()),
  exprParams: optional(AnyRecord),
  metricType: optional(z.string()),
  limit: optional(z.int()),
  /** Not heeded: a part of a search has no pages. */
  offset: optional(z.int()),
  params: optional(AnyRecord),
  searchParams: optional(AnyRecord),
  ignoreGrowing: optional(z.boolean()),
  functionScore: optional(FunctionScoreBody),
});

export const HybridSearchBody = CollectionBody.extend({
  ...HitFields,
  search: z.array(SubSearchBody),
  rerank: optional(RerankBody),
  rankGroupScorer: optional(z.string()),
});
export type HybridSearchBody = z.infer<typeof HybridSearchBody>;

interface HybridPlan {
  searches: SearchPlan[];
  ranker: Ranker;
  grouping: Grouping | undefined;
  groupScorer: GroupScorer;
  output: OutputFields;
  page: Page;
  roundDecimal: number;
}

/** Hits of all queries one after the other; `topks` says how many belong to each. */
export async function hybridSearchEntities(
  proxy: ProxyContext,
  request: HybridSearchBody,
  call: Call,
): Promise<PublicReply> {
  const collection = await resolveLoaded(proxy.actor, request, call);
  const plan = await planHybrid(proxy, collection, request, call);
  const texts = request.search.map(({ data, params, searchParams }, i) => ({
    field: collection.schema.fields.find(({ fieldId }) => fieldId === plan.searches[i]!.search.fieldId)!,
    data,
    analyzerName: settingsOf({ params, searchParams }).analyzer_name,
  }));
  const highlighter = highlighterOf(collection.schema, request.highlighter, plan.output, texts);
  const { counts, rows } = await retryIfSegmentGone(() => searchOnce(proxy, collection, plan, call));
  if (highlighter !== undefined) await highlightReply(rows, counts, highlighter, proxy.actor.clock);
  return success(rows, { cost: 0, topks: Array.from(counts) });
}

async function searchOnce(
  proxy: ProxyContext,
  collection: CollectionDoc,
  plan: HybridPlan,
  call: Call,
): Promise<ShownHits> {
  const { ranker, page, grouping, groupScorer, output, roundDecimal } = plan;
  const routes = await Promise.all(
    plan.searches.map(async (search) => {
      const { metric } = search.search;
      return { ...(await findHits(proxy, collection, search, call)), metric };
    }),
  );
  const ranked = await rankHits(proxy, collection, routes, ranker, call);
  const hits =
    grouping === undefined ? pageOf(ranked.hits, page) : pageOfGroups(ranked.hits, page, grouping.by.size, groupScorer);
  return showHits(proxy, collection, { ...ranked, hits }, { output, roundDecimal, groupedBy: grouping?.field }, call);
}

/** @throws VdbError invalid_parameter, missing_field, unexpected, and as planSearch */
async function planHybrid(
  proxy: ProxyContext,
  collection: CollectionDoc,
  body: HybridSearchBody,
  call: Call,
): Promise<HybridPlan> {
  const { schema } = collection;
  const settings = settingsOf(body);
  const page = checkWindow(body.limit ?? LIMIT_DEFAULT, body.offset ?? 0);
  const searches = await planSearches(proxy, collection, body, call);
  const queryCount = searches[0]!.search.queryCount;
  const scope = { schema, queryCount, planFilter: () => null };
  const { ranker, boost } = rescoringOf(body.functionScore, scope);
  if (boost !== undefined) {
    throw new VdbError("unexpected", "boost ranker is not supported at the top level of a hybrid search");
  }
  if (ranker !== undefined && body.rerank !== undefined) {
    throw new VdbError("invalid_parameter", "rerank and functionScore are exclusive");
  }
  const chosen = ranker ?? strategyOf(body.rerank, scope);
  // What it needs of the searches is checked before they are made.
  chosen.scoreOf(searches.map(({ search }) => search.metric));
  const grouping = groupingOf(schema, body, settings, page.offset + page.limit);
  if (grouping !== undefined && chosen.kind === "decay") {
    throw new VdbError("invalid_parameter", "rerank function decay does not support grouping");
  }
  return {
    searches,
    ranker: chosen,
    grouping,
    groupScorer: groupScorerOf(
      body.rankGroupScorer ?? settings.rank_group_scorer ?? body.rerank?.params?.rank_group_scorer,
    ),
    output: { ...outputFieldsOf(schema, body.outputFields ?? []), shape: rowShapeOf(proxy, collection, body) },
    page,
    roundDecimal: roundDecimalOf({ ...body.rerank?.params, ...settings }),
  };
}

async function planSearches(
  proxy: ProxyContext,
  collection: CollectionDoc,
  body: HybridSearchBody,
  call: Call,
): Promise<SearchPlan[]> {
  const { search: subs, dbName, collectionName, partitionNames, consistencyLevel, guaranteeTimestamp } = body;
  if (subs.length === 0) throw new VdbError("invalid_parameter", "minimum of ann search requests is 1");
  if (subs.length > SEARCHES_MAX) {
    throw new VdbError("unexpected", `maximum of ann search requests is ${SEARCHES_MAX}`);
  }
  const { groupingField, groupSize, strictGroupSize } = body;
  const grouping = groupSettings(settingsOf(body));
  const freshness = freshnessOf(collection, proxy.sessions, body);
  const searches: SearchPlan[] = [];
  for (const { offset: _, metricType, ignoreGrowing, searchParams, ...sub } of subs) {
    const request = {
      ...{
        dbName,
        collectionName,
        partitionNames,
        consistencyLevel,
        guaranteeTimestamp,
        outputFields: undefined,
        highlighter: undefined,
      },
      ...{ groupingField, groupSize, strictGroupSize, ids: undefined, offset: undefined },
      ...{ timezone: undefined, acceptTypeAllowInt64: undefined, resultFormat: undefined, orderByFields: undefined },
      ...sub,
      searchParams: {
        ...grouping,
        ...searchParams,
        ...(metricType === undefined ? {} : { metricType }),
        ...(ignoreGrowing === undefined ? {} : { ignore_growing: ignoreGrowing }),
      },
    };
    const scope = { ...scopeOf(proxy, collection, request), freshness };
    const plan = await planSearch(proxy, collection, scope, request, call);
    if (plan.ranker !== undefined) {
      throw new VdbError("unexpected", "only boost rankers are supported in the searches of a hybrid search");
    }
    searches.push(plan);
  }
  const [first, ...others] = searches.map(({ search }) => search.queryCount);
  const other = others.find((count) => count !== first);
  if (other !== undefined) {
    throw new VdbError(
      "invalid_parameter",
      `sub search requests must have the same nq: invalid parameter[expected=${first}][actual=${other}]`,
    );
  }
  checkHits(searches.map(({ search }) => search));
  return searches;
}

/** What the outer request says of groups under the names of the wire is what its searches group by. */
function groupSettings(settings: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const names = ["group_by_field", "group_size", "strict_group_size", "json_path", "json_type", "strict_cast"];
  return Object.fromEntries(names.flatMap((name) => (settings[name] === undefined ? [] : [[name, settings[name]]])));
}

function groupScorerOf(given: unknown): GroupScorer {
  if (given === undefined || given === "") return "max";
  const scorer = GROUP_SCORERS.find((name) => name === String(given).toLowerCase());
  if (scorer !== undefined) return scorer;
  throw new VdbError(
    "invalid_parameter",
    `input group scorer type: ${String(given)} is not supported, only [${GROUP_SCORERS.join(", ")}] are`,
  );
}
