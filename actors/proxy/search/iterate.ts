/**
 * Search iterators: batches of hits, each beginning behind the last one's worst distance, all read at one timestamp. The
 * first request is given the timestamp (`sessionTs`) and a token; the next ones bring both along with the bound. Nothing
 * is kept here: any proxy can answer any of them.
 *
 * A batch ends between two distances: rows at the distance of its last row come with it, so none is lost or repeated.
 */
import type { Call } from "../../../runtime/bus/bus.ts";
import { VdbError } from "../../../runtime/errors.ts";
import type { CollectionDoc } from "../../../runtime/protocol/catalog.ts";
import type { PublicReply } from "../../../runtime/protocol/public.ts";
import { isDescending, type Metric } from "../../../runtime/schema.ts";
import { pageHits } from "../../../runtime/search/reduce.ts";
import { type ProxyContext, success } from "../context.ts";
import { newTimestamp } from "../new-timestamp.ts";
import { type Found, findHits, type SearchTarget } from "./find-hits.ts";
import { flagOf, integerOf, numberOf, type Settings } from "./settings.ts";
import { type Shown, showHits } from "./show-hits.ts";

const BATCH_MAX = 16_384;

/** Rows asked for beyond a batch, so that the end of the ties of its last row is seen. */
const SLACK = 16;
const WIDEN = 4;

const FLOAT32_MAX = 3.4028234663852886e38;

export function isIterator(settings: Settings): boolean {
  return flagOf(settings, "iterator") && flagOf(settings, "search_iter_v2");
}

export interface Iteration {
  token: string | undefined;
  /** Undefined: from the best hit on. */
  lastBound: number | undefined;
  batchSize: number;
}

/** @throws VdbError invalid_parameter */
export function iterationOf(settings: Settings, limit: number): Iteration {
  const batchSize = integerOf(settings, "search_iter_batch_size") ?? limit;
  if (batchSize < 1 || batchSize > BATCH_MAX) {
    throw new VdbError(
      "invalid_parameter",
      `batch size [${batchSize}] is invalid, it should be in range [1, ${BATCH_MAX}]`,
    );
  }
  const { search_iter_id: token } = settings;
  return {
    token: token === undefined || token === "" ? undefined : String(token),
    lastBound: numberOf(settings, "search_iter_last_bound"),
    batchSize,
  };
}

/** @param target whose readTs is that of the session, if it has begun */
export async function nextBatch(
  proxy: ProxyContext,
  collection: CollectionDoc,
  { target, shown, iteration }: { target: SearchTarget; shown: Shown; iteration: Iteration },
  call: Call,
): Promise<PublicReply> {
  const readTs = target.readTs ?? (await newTimestamp(proxy, call));
  const found = await findBatch(
    proxy,
    collection,
    { ...target, readTs, freshness: { level: "session", ts: readTs } },
    iteration,
    call,
  );
  const { counts, rows } = await showHits(proxy, collection, found, shown, call);
  const { metric } = target.search;
  const lastBound =
    found.hits.distances.at(-1) ?? iteration.lastBound ?? (isDescending(metric) ? FLOAT32_MAX : -FLOAT32_MAX);
  const token = iteration.token ?? proxy.actor.random.ulid();
  return success(rows, {
    cost: 0,
    topks: Array.from(counts),
    searchIteratorV2Results: { token, lastBound },
    sessionTs: readTs,
  });
}

async function findBatch(
  proxy: ProxyContext,
  collection: CollectionDoc,
  target: SearchTarget,
  { lastBound, batchSize }: Iteration,
  call: Call,
): Promise<Found> {
  const { search } = target;
  const behind = lastBound === undefined ? {} : { rangeFilter: nearer(search.metric, search.rangeFilter, lastBound) };
  for (let topK = Math.min(BATCH_MAX, batchSize + SLACK); ; topK = Math.min(BATCH_MAX, topK * WIDEN)) {
    const found = await findHits(proxy, collection, { ...target, search: { ...search, ...behind, topK } }, call);
    const { distances } = found.hits;
    let end = Math.min(batchSize, distances.length);
    while (end > 0 && end < distances.length && distances[end] === distances[end - 1]) end++;
    const isWhole = end < distances.length || distances.length < topK || topK === BATCH_MAX;
    if (isWhole) return { ...found, hits: pageHits(found.hits, 0, end) };
  }
}

/** The near side of what is still to come: behind the bound, and not before where the request begins. */
function nearer(metric: Metric, rangeFilter: number | undefined, lastBound: number): number {
  const next = nextFloat32(Math.fround(lastBound), isDescending(metric) ? -1 : 1);
  if (rangeFilter === undefined) return next;
  return isDescending(metric) ? Math.min(rangeFilter, next) : Math.max(rangeFilter, next);
}

const float = new Float32Array(1);
const bits = new Int32Array(float.buffer);

/** The next float32 above (1) or below (-1). */
function nextFloat32(value: number, direction: 1 | -1): number {
  if (value === 0) return direction * 2 ** -149;
  float[0] = value;
  bits[0] = bits[0]! + (value > 0 === direction > 0 ? 1 : -1);
  return float[0]!;
}
