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
import { takeTurn, type Work } from "../turns.ts";
import { allowedRows, prepareRows } from "./allowed-rows.ts";
import { queriesOf } from "./queries.ts";
import { cutByKey, distinctRows, emptyHits, segmentHits, topsOf } from "./segment-hits.ts";

/** How many times more rows are requested when those found had too few keys. */
export const WIDEN = 4;

export interface ReadOptions extends Snapshot, Work {
  filter: FilterPlan | null;
}

export interface ScanTools {
  scanner: ExactScanner;
  /** The vectors are in a mapped file: only the scanner may read them. */
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

/** Means that nothing of a chunk matches. */
const NO_ROWS = newBitset(CHUNK_ROWS);

function noRows({ batch }: Chunk): Bitset {
  return NO_ROWS.subarray(0, bitsetWords(batch.rowCount));
}

/** The rows that a read may return, by chunk. Rows appended meanwhile are not among them. */
export async function allowedChunks(segment: Segment, options: ReadOptions): Promise<AllowedChunk[]> {
  const { filter } = options;
  const allowed: AllowedChunk[] = [];
  for (const chunk of segment.chunks) {
    const isOpen = filter === null || (await prepareRows(segment, chunk, filter, options));
    allowed.push({ chunk, allow: isOpen ? allowedRows(segment, chunk, options, filter) : noRows(chunk) });
  }
  return allowed;
}

/** The rows of chunks, from row 0 on, as one bitset of `rowCount` rows; null: all of them. */
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

/** How many more rows than wanted are searched for: if the next one is as far as the last, their keys decide which is returned. */
export interface TiesSeen {
  readonly first: number;
  /** The same for a second search, if those of the first were all equally far; if even more are, row numbers decide. */
  readonly most: number;
}

export const TIES_SEEN: TiesSeen = { first: 1, most: 1_024 };
/** For bits, where many rows are equally far. */
const TIES_SEEN_OF_BITS: TiesSeen = { ...TIES_SEEN, first: 32 };

/** Exact search over the rows that may be found; among equally far rows, those with the smallest keys. */
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
 * The best k rows of each query; among those as far as the last, the ones with the smallest keys. Only the queries that need it
 * get a second search, a few at a time.
 * @param find finds that many best rows of each query in [from, to), or all there are
 */
export async function smallestKeys(
  segment: Segment,
  { k, queryCount, seen, clock }: { k: number; queryCount: number; seen: TiesSeen; clock: Clock },
  find: (k: number, from: number, to: number) => Promise<TopRows[]>,
): Promise<TopRows[]> {
  const { first, most } = seen;
  const cut = async (top: TopRows) => {
    // Ordering a thousand rows by their keys takes most of a millisecond.
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
    // Copies: a view would keep all rows found.
    for (const top of await find(k + most, query, to)) tops[query++] = copyOf(await cut(top));
  }
  return tops;
}

function copyOf({ rows, distances }: TopRows): TopRows {
  return { rows: rows.slice(), distances: distances.slice() };
}

/** Whether more rows may be as far as the k-th than the `found` ones. */
function isCutOff({ distances }: TopRows, k: number, found: number): boolean {
  return distances.length === found && distances[k - 1] === distances[found - 1];
}

/** The parameters of an exact scan. */
export function scanOf(search: VectorSearch): Omit<ExactScan, "k" | "blocks" | "deadline"> {
  const { metric, queries } = search;
  return { metric, queries, ...searchedVectors(search), ...rangeOf(search) };
}

/** The band of distances that a search asks for, as engines take it. */
export function rangeOf({ radius, rangeFilter }: VectorSearch): Pick<ExactScan, "radius" | "rangeFilter"> {
  return { ...(radius === undefined ? {} : { radius }), ...(rangeFilter === undefined ? {} : { rangeFilter }) };
}

/**
 * Chunks in the form of a scanner's input, restricted to rows with a vector; chunks without a matching row are left out.
 * @param isMapped whether the vectors are in a mapped file: the event loop must not read them, so the scanner computes norms
 */
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

/** The rows that may be found and have a vector. */
function withVectors(allow: Bitset | null, { valid }: DenseVectorColumn): Bitset | null {
  if (valid === undefined) return allow;
  return allow === null ? valid : valid.map((word, i) => word & allow[i]!);
}

/** Rows searched for at a time, for all queries together, when the best ones had too few keys: 8 bytes each. */
export const FOUND_MAX = 1 << 22;

/** Queries for which `k` rows each may be searched for at once. */
function queriesAtOnce(k: number): number {
  return Math.max(1, Math.floor(FOUND_MAX / k));
}

/**
 * The best rows of a segment, one per key. Inserts do not check keys, so the best k rows may have fewer than k keys although
 * there are more; then more rows are searched for, a few queries at a time.
 * @param find finds the best k rows of each query of the given search, fewer if there are no more
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
    // Includes those that are as far as the last.
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

/** The best `count` rows of each query, one per key; with many rows this takes a while. */
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

/** Numbers squared in one turn: some 5 ms. */
const NUMBERS_A_TURN = 1 << 22;

/** A full chunk's array of vectors is immutable, so its norms are computed once and live as long. */
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
