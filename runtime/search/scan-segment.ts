/**
 * Exact search of one segment in memory: growing rows, sealed segments too small for an index, and filters that leave
 * few rows. Filters are evaluated here, chunk by chunk, giving way to other work in between; distances by the scanner.
 */
import type { ExactBlock, ExactScan, ExactScanner } from "../ann/engine.ts";
import { rowNorms } from "../ann/exact.ts";
import { type DenseVectors, searchedVectors, vectorWidth } from "../ann/packed-vectors.ts";
import type { Clock } from "../clock.ts";
import type { FilterPlan } from "../expr/plan.ts";
import type { SearchHits, VectorSearch } from "../protocol/values.ts";
import { type Bitset, bitsetWords, countBits, maskTail, newBitset } from "../segment/bitset.ts";
import type { DenseVectorColumn } from "../segment/column.ts";
import { CHUNK_ROWS, type Chunk, type Segment, type Snapshot } from "../segment/segment.ts";
import type { TopRows } from "../topk.ts";
import { takeTurn } from "../turns.ts";
import { allowedRows, prepareRows } from "./allowed-rows.ts";
import { queriesOf } from "./queries.ts";
import { cutByKey, distinctRows, emptyHits, segmentHits, topsOf } from "./segment-hits.ts";

/** How many times more rows are asked for when those found were of too few keys. */
export const WIDEN = 4;

export interface ReadOptions extends Snapshot {
  filter: FilterPlan | null;
  clock: Clock;
}

export interface ScanTools {
  scanner: ExactScanner;
  /** The vectors lie in a mapped file: the scanner alone may read them. */
  isMapped?: boolean;
  clock: Clock;
  /** By the monotonic clock. */
  deadline: number;
}

/** A chunk as it was when a read began, and the rows of it that the read may return; null: all. */
export interface AllowedChunk {
  readonly chunk: Chunk;
  readonly allow: Bitset | null;
}

/** What views of say that nothing of a chunk matches. */
const NO_ROWS = newBitset(CHUNK_ROWS);

function noRows({ batch }: Chunk): Bitset {
  return NO_ROWS.subarray(0, bitsetWords(batch.rowCount));
}

/** What a read may return of each chunk. Rows that come meanwhile are not in it. */
export async function allowedChunks(segment: Segment, options: ReadOptions): Promise<AllowedChunk[]> {
  const { filter, clock } = options;
  const allowed: AllowedChunk[] = [];
  for (const chunk of segment.chunks) {
    const isOpen = filter === null || (await prepareRows(segment, chunk, filter, clock));
    allowed.push({ chunk, allow: isOpen ? allowedRows(segment, chunk, options, filter) : noRows(chunk) });
  }
  return allowed;
}

/** The chunks' rows, which begin at 0, as one bitset of `rowCount` rows; null: all of them. */
export function joinedRows(chunks: readonly AllowedChunk[], rowCount: number): { bits: Bitset; count: number } | null {
  if (chunks.every(({ allow }) => allow === null)) return null;
  const bits = new Uint32Array(bitsetWords(rowCount));
  for (const { chunk, allow } of chunks) {
    // Chunks begin at whole words.
    const word = chunk.firstRow >>> 5;
    if (allow === null) bits.fill(0xffffffff, word, word + bitsetWords(chunk.batch.rowCount));
    else bits.set(allow.subarray(0, bits.length - word), word);
  }
  maskTail(bits, rowCount);
  return { bits, count: countBits(bits) };
}

/** How many rows beyond those that are wanted are looked for: where the next one is as far as the last, keys tell which it is to be. */
export interface TiesSeen {
  readonly first: number;
  /** By a second look, where the first ones are all as far; where even more are, row numbers tell. */
  readonly most: number;
}

export const TIES_SEEN: TiesSeen = { first: 1, most: 1_024 };
/** Of bits many are equally far. */
const TIES_SEEN_OF_BITS: TiesSeen = { ...TIES_SEEN, first: 32 };

/** Exact search over the rows that may be found; of rows equally far, those of the smallest keys. */
export async function scanAllowed(
  segment: Segment,
  search: VectorSearch,
  { scanner, clock, deadline, isMapped = false }: ScanTools,
  allowed: readonly AllowedChunk[],
): Promise<SearchHits> {
  const blocks = await blocksOf(allowed, search, clock, isMapped);
  if (blocks.length === 0) return emptyHits(search.queryCount, segment.keyKind);
  const scan = async (k: number, all: VectorSearch, from: number, to: number) => {
    const some = from === 0 && to === all.queryCount ? all : { ...all, ...queriesOf(all, from, to) };
    return topsOf(await scanner.scanExact({ k, blocks, deadline, ...scanOf(some) }), some.queryCount);
  };
  const seen = search.vectorType === "BinaryVector" ? TIES_SEEN_OF_BITS : TIES_SEEN;
  return distinctHits(segment, search, clock, (k, some) =>
    smallestKeys(segment, { k, queryCount: some.queryCount, seen, clock }, (wanted, from, to) =>
      scan(wanted, some, from, to),
    ),
  );
}

/**
 * The best k rows of each query; of those that are as far as the last of them, the ones of the smallest keys. The second
 * look is for the queries that need it alone, a few of them at a time where they are many.
 * @param find the best rows of the queries `from` to before `to`, that many of each or all there are
 */
export async function smallestKeys(
  segment: Segment,
  { k, queryCount, seen, clock }: { k: number; queryCount: number; seen: TiesSeen; clock: Clock },
  find: (k: number, from: number, to: number) => Promise<TopRows[]>,
): Promise<TopRows[]> {
  const { first, most } = seen;
  const cut = async (top: TopRows) => {
    // To order a thousand rows by their keys takes most of a millisecond.
    if (top.rows.length > k && top.distances[k] === top.distances[k - 1]) await takeTurn(clock);
    return cutByKey(segment, top, k);
  };
  const tops = await find(k + first, 0, queryCount);
  const isOpen = tops.map((top) => isCutOff(top, k, k + first));
  for (let query = 0; query < queryCount; query++) if (!isOpen[query]!) tops[query] = await cut(tops[query]!);
  const step = queriesAtOnce(k + most);
  for (let query = isOpen.indexOf(true); query >= 0; query = isOpen.indexOf(true, query)) {
    let to = query + 1;
    while (isOpen[to] === true && to - query < step) to++;
    // Copies: a view would keep all rows that were looked at.
    for (const top of await find(k + most, query, to)) tops[query++] = copyOf(await cut(top));
  }
  return tops;
}

function copyOf({ rows, distances }: TopRows): TopRows {
  return { rows: rows.slice(), distances: distances.slice() };
}

/** Whether more rows may be as far as the k-th than the `found` that were looked for. */
function isCutOff({ distances }: TopRows, k: number, found: number): boolean {
  return distances.length === found && distances[k - 1] === distances[found - 1];
}

/** What a search says of an exact scan. */
export function scanOf(search: VectorSearch): Omit<ExactScan, "k" | "blocks" | "deadline"> {
  const { metric, queries } = search;
  return { metric, queries, ...searchedVectors(search), ...rangeOf(search) };
}

/** The band of distances that a search asks for, as engines take it. */
export function rangeOf({ radius, rangeFilter }: VectorSearch): Pick<ExactScan, "radius" | "rangeFilter"> {
  return { ...(radius === undefined ? {} : { radius }), ...(rangeFilter === undefined ? {} : { rangeFilter }) };
}

/** Chunks as a scanner takes them, of rows that have a vector; those in which no such row matches are left out. */
export async function blocksOf(
  allowed: readonly AllowedChunk[],
  search: VectorSearch,
  clock: Clock,
  isMapped = false,
): Promise<ExactBlock[]> {
  const { fieldId, metric } = search;
  const about = searchedVectors(search);
  const blocks: ExactBlock[] = [];
  for (const { chunk, allow } of allowed) {
    const column = chunk.batch.columns[fieldId] as DenseVectorColumn | undefined;
    if (column === undefined || allow?.buffer === NO_ROWS.buffer) continue;
    const block: ExactBlock = { vectors: column.values, allow: withVectors(allow, column), firstRow: chunk.firstRow };
    if (column.valid !== undefined && block.allow!.every((word) => word === 0)) continue;
    const norms = metric === "COSINE" && !isMapped ? await normsOf(chunk, column.values, about, clock) : undefined;
    if (norms !== undefined) block.norms = norms;
    blocks.push(block);
  }
  return blocks;
}

/** Of the rows that may be found, those that have a vector. */
function withVectors(allow: Bitset | null, { valid }: DenseVectorColumn): Bitset | null {
  if (valid === undefined) return allow;
  return allow === null ? valid : valid.map((word, i) => word & allow[i]!);
}

/** Rows that are looked for at a time when the best ones were of too few keys, of all queries together: 8 bytes each. */
export const FOUND_MAX = 1 << 22;

/** Queries for which `k` rows each may be looked for at once. */
function queriesAtOnce(k: number): number {
  return Math.max(1, Math.floor(FOUND_MAX / k));
}

/**
 * The best rows of a segment, one a key. Inserts do not check keys: the best k rows may be of fewer than k keys, while
 * others are there; then more are looked for, of a few queries at a time where they are many.
 * @param find the best k rows of each query of the search that it is given, fewer when there are no more
 */
export async function distinctHits(
  segment: Segment,
  search: VectorSearch,
  clock: Clock,
  find: (k: number, search: VectorSearch) => Promise<TopRows[]>,
): Promise<SearchHits> {
  const { topK, queryCount } = search;
  const tops = await find(topK, search);
  if (!segment.hasRepeatedKeys) return segmentHits(segment, tops);
  const distinct = await distinctTops(segment, tops, topK, clock);
  const found = tops.map(({ rows }) => rows.length);
  for (let k = topK; ; ) {
    const isOpen = distinct.map(({ rows }, query) => rows.length < topK && found[query]! >= k);
    if (!isOpen.includes(true) || k >= segment.rowCount) return segmentHits(segment, distinct);
    k = Math.min(k * WIDEN, segment.rowCount);
    // With those that are as far as the last.
    const step = queriesAtOnce(k + TIES_SEEN.most);
    for (let from = 0; from < queryCount; from += step) {
      const to = Math.min(queryCount, from + step);
      if (!isOpen.slice(from, to).includes(true)) continue;
      const more = await find(k, { ...search, ...queriesOf(search, from, to) });
      const best = await distinctTops(segment, more, topK, clock);
      for (let query = from; query < to; query++) {
        distinct[query] = best[query - from]!;
        found[query] = more[query - from]!.rows.length;
      }
    }
  }
}

/** The best `count` rows of each query, one a key: of many rows this takes a while. */
export async function distinctTops(
  segment: Segment,
  tops: readonly TopRows[],
  count: number,
  clock: Clock,
): Promise<TopRows[]> {
  const distinct: TopRows[] = [];
  for (const top of tops) {
    await takeTurn(clock);
    distinct.push(distinctRows(segment, top, count));
  }
  return distinct;
}

/** Squared in one turn: some 5 ms. */
const NUMBERS_A_TURN = 1 << 22;

/** A full chunk's array of vectors is immutable, so its norms are computed once; they go with it. */
const knownNorms = new WeakMap<DenseVectors, Float32Array>();

/** Undefined for a chunk that still grows: its next view is another array. */
async function normsOf(
  { batch }: Chunk,
  vectors: DenseVectors,
  { vectorType, dimension }: ReturnType<typeof searchedVectors>,
  clock: Clock,
): Promise<Float32Array | undefined> {
  const known = knownNorms.get(vectors);
  if (known !== undefined || batch.rowCount !== CHUNK_ROWS) return known;
  const norms = new Float32Array(CHUNK_ROWS);
  const width = vectorWidth(vectorType, dimension);
  const step = Math.ceil(NUMBERS_A_TURN / dimension);
  for (let row = 0; row < CHUNK_ROWS; row += step) {
    await takeTurn(clock);
    norms.set(rowNorms(vectors.subarray(row * width, (row + step) * width), dimension, vectorType), row);
  }
  knownNorms.set(vectors, norms);
  return norms;
}
