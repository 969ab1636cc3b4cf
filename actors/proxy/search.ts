/**
 * entities/search: the shards' best hits, reduced to a page, with the fields asked for. Fields are fetched in a second
 * step, for the final hits only; when a segment has gone meanwhile, the search runs once more.
 */
import type { Call } from "../../runtime/bus/bus.ts";
import { isVdbError } from "../../runtime/errors.ts";
import type { CollectionDoc } from "../../runtime/protocol/catalog.ts";
import type { PublicReply } from "../../runtime/protocol/public.ts";
import { shortestFloat32 } from "../../runtime/protocol/public-codec.ts";
import { searchShard } from "../../runtime/protocol/streaming.ts";
import type { SearchHits } from "../../runtime/protocol/values.ts";
import { pageHits, reduceHits } from "../../runtime/search/reduce.ts";
import { askOwner } from "./ask-owner.ts";
import { columnsToRows, type ResultRow } from "./columns-to-rows.ts";
import { type ProxyContext, success } from "./context.ts";
import { fetchFields } from "./fetch-fields.ts";
import { columnsToFetch } from "./output-fields.ts";
import { parseBody } from "./parse-body.ts";
import { planSearch, SearchBody, type SearchPlan } from "./plan-search.ts";
import { resolveLoaded } from "./resolve.ts";

/** Hits of all queries one after the other; `topks` says how many belong to each. */
export async function searchEntities(proxy: ProxyContext, body: unknown, call: Call): Promise<PublicReply> {
  const request = parseBody(SearchBody, body);
  const collection = await resolveLoaded(proxy.actor, request, call);
  const plan = planSearch(proxy, collection, request);
  const { counts, rows } = await runTwice(() => searchOnce(proxy, collection, plan, call));
  return success(rows, { cost: 0, topks: Array.from(counts) });
}

async function runTwice<T>(search: () => Promise<T>): Promise<T> {
  try {
    return await search();
  } catch (error) {
    if (!isVdbError(error, "segment_not_loaded")) throw error;
    return search();
  }
}

async function searchOnce(
  proxy: ProxyContext,
  collection: CollectionDoc,
  plan: SearchPlan,
  call: Call,
): Promise<{ counts: Uint32Array; rows: ResultRow[] }> {
  const { search, output, page } = plan;
  const parts = await searchShards(proxy, collection, plan, call);
  const best = reduceHits(parts, search.queryCount, search.topK, search.metric);
  const hits = page.offset === 0 ? best : pageHits(best, page.offset, page.limit);
  const fieldIds = columnsToFetch(output);
  const batch =
    fieldIds.length === 0
      ? { rowCount: hits.distances.length, columns: {} }
      : await fetchFields(proxy.actor, collection, { parts, hits, fieldIds }, call);
  const rows = columnsToRows(hits.keys, batch, output);
  for (let i = 0; i < rows.length; i++) rows[i]!.distance = shortestFloat32(hits.distances[i]!);
  return { counts: hits.counts, rows };
}

/** The hits of every shard, in the order of the shards. */
function searchShards(
  { actor, searchBatches }: ProxyContext,
  collection: CollectionDoc,
  plan: SearchPlan,
  call: Call,
): Promise<SearchHits[]> {
  const { search, freshness, partitionIds, filter } = plan;
  const { collectionId, shards } = collection;
  return Promise.all(
    shards.map((shard) => {
      const request = { collectionId, vchannel: shard.vchannel, freshness, partitionIds, search, filter };
      return searchBatches.search(request, call, async (batch, batchCall) => {
        const target = { collection, shard };
        return (await askOwner(actor, searchShard, target, { ...request, search: batch }, batchCall)).hits;
      });
    }),
  );
}
