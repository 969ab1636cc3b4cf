/** The batches of a search iterator: each request brings along where the one before it ended. */
import type { PublicReply } from "../runtime/protocol/public.ts";
import { searchData } from "./search-data.ts";
import type { Hit, SearchIteratorOptions } from "./types.ts";

/** @param ask sends one search; errors are the caller's */
export async function* iterateSearch(
  { batchSize = 1_000, searchParams = {}, ...body }: Omit<SearchIteratorOptions, "timeoutMs">,
  ask: (request: Record<string, unknown>) => Promise<PublicReply>,
): AsyncGenerator<Hit[], void> {
  const params = { ...searchParams.params, iterator: true, search_iter_v2: true, search_iter_batch_size: batchSize };
  const request = { ...body, data: searchData(body.data), searchParams: { ...searchParams, params } };
  let next: Record<string, unknown> = request;
  for (;;) {
    const reply = await ask(next);
    const hits = reply.data as Hit[];
    if (hits.length === 0) return;
    yield hits;
    const { token, lastBound } = reply.searchIteratorV2Results as { token: string; lastBound: number };
    const place = { search_iter_id: token, search_iter_last_bound: lastBound };
    next = {
      ...request,
      searchParams: { ...searchParams, params: { ...params, ...place } },
      guaranteeTimestamp: reply.sessionTs,
    };
  }
}
