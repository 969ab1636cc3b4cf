/**
 * entities/search: the best hits of all shards, cut to a page, with the fields asked for. Fields are fetched in a
 * second step, for the final hits only; when a segment has gone meanwhile, the search runs once more.
 */
import type { Call } from "../../runtime/bus/bus.ts";
import { VdbError } from "../../runtime/errors.ts";
import type { CollectionDoc } from "../../runtime/protocol/catalog.ts";
import type { PublicReply } from "../../runtime/protocol/public.ts";
import { isMatching, primaryField } from "../../runtime/schema.ts";
import { emptyHits } from "../../runtime/search/segment-hits.ts";
import { keyKindOf } from "../../runtime/segment/keys.ts";
import { timestampOf } from "./consistency.ts";
import { type ProxyContext, success } from "./context.ts";
import { resolveLoaded } from "./resolve.ts";
import { type Found, findHits } from "./search/find-hits.ts";
import { highlighterOf } from "./search/highlight.ts";
import { highlightReply } from "./search/hit-columns.ts";
import { isIterator, iterationOf, nextBatch } from "./search/iterate.ts";
import { orderHits } from "./search/order-hits.ts";
import { pageOf, pageOfGroups } from "./search/pages.ts";
import { planSearch, type SearchBody, type SearchPlan, type SearchScope, scopeOf } from "./search/plan-search.ts";
import { rankHits } from "./search/rank-hits.ts";
import { retryIfSegmentGone } from "./search/retry-if-segment-gone.ts";
import { type ShownHits, showHits } from "./search/show-hits.ts";
import { anyVector, countsOfIds, vectorsOfIds } from "./search/vectors-of-ids.ts";

/** Hits of all queries one after the other; `topks` says how many belong to each. */
export async function searchEntities(proxy: ProxyContext, asked: SearchBody, call: Call): Promise<PublicReply> {
  const collection = await resolveLoaded(proxy.actor, asked, call);
  const scope = scopeOf(proxy, collection, asked);
  const ofIds = asked.ids === undefined ? undefined : await vectorsOf(proxy, collection, scope, asked, call);
  const given = ofIds?.filter((vector) => vector !== null);
  // A caller in this process still holds the request object: it must not change.
  const request =
    given === undefined ? asked : { ...asked, data: given.length === 0 ? [anyVector(scope.field)] : given };
  const plan = await planSearch(proxy, collection, scope, request, call);
  if (isIterator(scope.settings)) return iterate(proxy, collection, { plan, scope, request }, call);
  const texts = { field: scope.field, data: request.data, analyzerName: scope.settings.analyzer_name };
  const highlighter = highlighterOf(collection.schema, request.highlighter, plan.output, [texts]);
  const { counts: found, rows } =
    given?.length === 0
      ? await showHits(proxy, collection, noHits(collection), shownOf(plan), call)
      : await retryIfSegmentGone(() => searchOnce(proxy, collection, plan, call));
  const counts = ofIds === undefined ? found : countsOfIds(ofIds, found);
  if (highlighter !== undefined) await highlightReply(rows, counts, highlighter, proxy.actor.clock);
  return success(rows, { cost: 0, topks: Array.from(counts) });
}

async function searchOnce(
  proxy: ProxyContext,
  collection: CollectionDoc,
  plan: SearchPlan,
  call: Call,
): Promise<ShownHits> {
  const { ranker, search } = plan;
  const found = await findHits(proxy, collection, plan, call);
  const ranked =
    ranker === undefined
      ? found
      : await rankHits(proxy, collection, [{ ...found, metric: search.metric }], ranker, call);
  const ordered = await orderHits(proxy, collection, ranked, plan.order, call);
  return showHits(proxy, collection, pageOfFound(ordered, plan), shownOf(plan), call);
}

/** For a search by ids when none of the rows has a vector to search with. */
function noHits({ schema }: CollectionDoc): Found {
  return { hits: emptyHits(0, keyKindOf(primaryField(schema))), shardOf: new Map() };
}

function pageOfFound(found: Found, { page, grouping }: SearchPlan): Found {
  const { hits } = found;
  return {
    ...found,
    hits: grouping === undefined ? pageOf(hits, page) : pageOfGroups(hits, page, grouping.by.size, "max"),
  };
}

function shownOf({ output, roundDecimal, grouping }: SearchPlan) {
  return { output, roundDecimal, groupedBy: grouping?.field };
}

function vectorsOf(
  proxy: ProxyContext,
  collection: CollectionDoc,
  scope: SearchScope,
  { ids, data }: SearchBody,
  call: Call,
): Promise<unknown[]> {
  if (data !== undefined && data !== null) {
    throw new VdbError("invalid_parameter", "data and ids are exclusive: search by vectors or by primary keys");
  }
  if (isIterator(scope.settings))
    throw new VdbError("invalid_parameter", "search by ids is not supported for iterators");
  return vectorsOfIds(proxy, collection, { ids, ...scope }, call);
}

/** @throws VdbError invalid_parameter for what an iterator cannot do, in Milvus's words */
function iterate(
  proxy: ProxyContext,
  collection: CollectionDoc,
  { plan, scope, request }: { plan: SearchPlan; scope: SearchScope; request: SearchBody },
  call: Call,
): Promise<PublicReply> {
  const refuse = (message: string) => new VdbError("invalid_parameter", message);
  if (plan.search.queryCount > 1) throw refuse("Not support search iteration over multiple vectors at present");
  if (plan.grouping !== undefined) throw refuse("Not allowed to do groupBy when doing iteration");
  if (plan.page.offset > 0) throw refuse("Not support offset when doing iteration");
  if (plan.order.length > 0) throw refuse("an iteration goes from near to far: without orderByFields");
  if (isMatching(plan.search.metric)) {
    throw refuse(`metric type ${plan.search.metric} has no distances: an iteration goes from near to far`);
  }
  if (plan.ranker !== undefined || plan.search.boost !== undefined) {
    throw refuse("Not support rerank functions when doing iteration");
  }
  const iteration = iterationOf(scope.settings, plan.page.limit);
  // For the first batch it is a lower bound, as for any read; the newest state, which that batch reads, satisfies it.
  const isExact = iteration.token !== undefined || request.consistencyLevel === "Customized";
  const given = isExact ? timestampOf(request.guaranteeTimestamp ?? scope.settings.guarantee_timestamp) : undefined;
  // 0, 1 and 2 are levels in the words of old clients.
  const target = given === undefined || given <= 2n ? plan : { ...plan, readTs: given };
  if (iteration.token !== undefined && target.readTs === undefined) {
    throw refuse("an iteration goes on at guaranteeTimestamp, the sessionTs of its first batch");
  }
  return retryIfSegmentGone(() => nextBatch(proxy, collection, { target, shown: shownOf(plan), iteration }, call));
}
