/**
 * Search iterators: batches of hits, each beginning behind the last one's worst distance, all read at one timestamp. The
 * first request is given the timestamp (`sessionTs`) and a token; the next ones bring both along with the bound. Nothing
 * is kept here: any proxy can answer any of them. An empty batch is the end.
 *
 * A batch ends in a gap between two distances: of rows that are equally far it has all or none, so that none is lost or
 * repeated. The same row may be a little nearer or further the next time, when it is found in an index rather than by a
 * scan, so the gap is wider than that, and the bound lies inside of it. An index of rounded vectors would be off by more:
 * it is passed over.
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

/** What sums of float32 in different orders may differ by. */
const ROUNDING = 1e-6;

/** Every list of an IVF index: an iterator is to come to all rows, unless it says otherwise. */
const NPROBE_ALL = 65_536;

const FLOAT32_MAX = 3.4028234663852886e38;

export function isIterator(settings: Settings): boolean {
  return flagOf(settings, "iterator") && flagOf(settings, "search_iter_v2");
}

export interface Iteration {
  token: string | undefined;
  /** Undefined: from the best hit on. */
  lastBound: number | undefined;
  batchSize: number;
  /** Undefined: every list. */
  nprobe: number | undefined;
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
    nprobe: integerOf(settings, "nprobe"),
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
  const token = iteration.token ?? `${proxy.actor.random.ulid()}_${Math.abs(found.hits.distances[0] ?? 0)}`;
  const { lastBound } = found;
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
  { token, lastBound, batchSize, nprobe }: Iteration,
  call: Call,
): Promise<Found & { lastBound: number }> {
  const isOfAllLists = target.search.nprobe !== undefined && nprobe === undefined;
  const search = { ...target.search, isExact: true, ...(isOfAllLists ? { nprobe: NPROBE_ALL } : {}) };
  const { metric, rangeFilter } = search;
  const scale = scaleOf(token);
  const behind = lastBound === undefined ? {} : { rangeFilter: nearer(metric, rangeFilter, lastBound) };
  for (let topK = Math.min(BATCH_MAX, batchSize + SLACK); ; topK = Math.min(BATCH_MAX, topK * WIDEN)) {
    const found = await findHits(proxy, collection, { ...target, search: { ...search, ...behind, topK } }, call);
    const { distances } = found.hits;
    const isCut = distances.length === topK;
    const { end, isGap } = endOfBatch({ distances, isCut }, batchSize, (distance) =>
      roundingOf(metric, distance, scale),
    );
    if (end === distances.length && isCut && topK < BATCH_MAX) continue;
    const last = distances[end - 1];
    const rounding = last === undefined || !isGap ? 0 : roundingOf(metric, last, scale);
    return {
      ...found,
      hits: pageHits(found.hits, 0, end),
      lastBound:
        last === undefined
          ? (lastBound ?? nearest(metric))
          : Math.fround(last + (isDescending(metric) ? -rounding : rounding) / 2),
    };
  }
}

/**
 * Where a batch of at most so many rows ends: more only where all of them are equally far.
 * @param found isCut: there may be more, so what follows the last one is not known
 */
export function endOfBatch(
  { distances, isCut }: { distances: Float32Array; isCut: boolean },
  batchSize: number,
  roundingAt: (distance: number) => number,
): { end: number; isGap: boolean } {
  const total = distances.length;
  if (total <= batchSize && !isCut) return { end: total, isGap: true };
  const most = Math.min(batchSize, total - 1);
  const stepAt = (row: number) => Math.abs(distances[row]! - distances[row - 1]!);
  for (let end = most; end > 0; end--) {
    if (stepAt(end) > roundingAt(distances[end]!)) return { end, isGap: true };
  }
  for (let end = most; end > 0; end--) if (stepAt(end) > 0) return { end, isGap: false };
  let end = most + 1;
  while (end < total && stepAt(end) === 0) end++;
  return { end, isGap: false };
}

/** What lies before every row. */
function nearest(metric: Metric): number {
  return isDescending(metric) ? FLOAT32_MAX : -FLOAT32_MAX;
}

/** @param scale of the distances: sums whose terms cancel out are rounded as their terms are */
function roundingOf(metric: Metric, distance: number, scale: number): number {
  if (metric === "COSINE") return ROUNDING;
  return ROUNDING * (metric === "IP" ? Math.max(scale, Math.abs(distance)) : Math.abs(distance));
}

/** A token ends with the best distance of the first batch, which tells the scale of all. */
function scaleOf(token: string | undefined): number {
  const scale = Number(token?.split("_")[1]);
  return Number.isFinite(scale) ? scale : 0;
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
