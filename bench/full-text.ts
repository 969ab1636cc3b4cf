/**
 * `node dist/bench/full-text.js`: full-text search of 50,000 package titles by one query node's index, without network:
 * analysing, indexing, statistics and BM25 queries, with one in ten texts deleted. Each ranking is checked against one
 * made by looking at every text. `--queries N` (2,000), `--limit N` (10).
 */
import { parseArgs } from "node:util";
import type { VectorSearch } from "../runtime/protocol/values.ts";
import type { CollectionSchema, FieldSchema } from "../runtime/schema.ts";
import { allowedChunks } from "../runtime/search/scan-segment.ts";
import { keysOf } from "../runtime/segment/keys.ts";
import { Segment } from "../runtime/segment/segment.ts";
import { withFunctionOutputs } from "../runtime/sparse/function-outputs.ts";
import { SparseSegment } from "../runtime/sparse/sparse-segment.ts";
import { averageLength, inverseFrequency } from "../runtime/sparse/statistics.ts";
import { termCounts } from "../runtime/sparse/term-counts.ts";
import { systemClock } from "../runtime/system-clock.ts";
import { seededNumbers } from "../runtime/testing/vectors.ts";
import { createAnalyzer } from "../runtime/text/analyzer.ts";
import { readRecords } from "./dataset.ts";

const { values } = parseArgs({
  options: { queries: { type: "string", default: "2000" }, limit: { type: "string", default: "10" } },
});
const queryCount = Number(values.queries);
const topK = Number(values.limit);

const [ID, TEXT, SPARSE] = [100, 101, 102];
const K1 = 1.2;
const B = 0.75;
const BATCH = 1_000;

const field = (fieldId: number, name: string, type: FieldSchema["type"]): FieldSchema => ({
  ...{ fieldId, name, type, description: "", isPrimary: fieldId === ID, nullable: false, isDynamic: false },
});
const schema: CollectionSchema = {
  ...{ version: 1, autoId: false, enableDynamicField: false },
  fields: [field(ID, "id", "Int64"), field(TEXT, "text", "VarChar"), field(SPARSE, "sparse", "SparseFloatVector")],
  functions: [
    {
      functionId: 1,
      name: "bm25",
      type: "BM25",
      description: "",
      inputFieldIds: [TEXT],
      outputFieldIds: [SPARSE],
      params: {},
    },
  ],
};

const titles = (await readRecords()).map(({ title }) => String(title));
const tools = { clock: systemClock, deadline: Number.POSITIVE_INFINITY };
const since = (start: number) => (performance.now() - start) / 1_000;

const analysing = performance.now();
const segment = new Segment({ segmentId: "S".repeat(26), partitionId: 1, keyFieldId: ID, keyKind: "int64" });
for (let first = 0; first < titles.length; first += BATCH) {
  const texts = titles.slice(first, first + BATCH);
  const ids = texts.map((_, i) => BigInt(first + i));
  const columns = { [ID]: keysOf("int64", ids), [TEXT]: keysOf("varchar", texts) };
  segment.append(await withFunctionOutputs(schema, { rowCount: texts.length, columns }, systemClock), 1n);
}
console.log(`analysed   ${Math.round(titles.length / since(analysing))} texts/s`);

const sparse = new SparseSegment(segment);
const indexing = performance.now();
await sparse.indexWhole(SPARSE, systemClock);
console.log(`indexed    ${since(indexing).toFixed(2)} s, ${(sparse.memoryBytes / 2 ** 20).toFixed(1)} MiB`);

const isGone = (id: number) => id % 10 === 3;
for (let id = 0; id < titles.length; id++) if (isGone(id)) segment.delete(keysOf("int64", [BigInt(id)]), 0, 2n);
const counting = performance.now();
await sparse.statistics(SPARSE, Uint32Array.of(1), { readTs: 2n }, tools);
console.log(
  `deletes    ${(1_000 * since(counting)).toFixed(1)} ms to take ${Math.ceil(titles.length / 10)} texts off the statistics`,
);

const analyzer = createAnalyzer(undefined);
const next = seededNumbers(1);
const below = (limit: number) => Math.floor(next() * limit);
const queries = Array.from({ length: queryCount }, () => {
  const words = titles[below(titles.length)]!.split(/\s+/);
  return Array.from({ length: 2 + below(4) }, () => words[below(words.length)]!).join(" ");
});

const found: { rows: Uint32Array; scores: Float32Array }[] = [];
const times: number[] = [];
for (const query of queries) {
  const start = performance.now();
  const { terms, values: counts } = termCounts(analyzer, query);
  const statistics = await sparse.statistics(SPARSE, terms, { readTs: 2n }, tools);
  const weights = counts.map((count, i) => count * inverseFrequency(statistics.rowCount, statistics.counts[i]!));
  const search: VectorSearch = {
    ...{ fieldId: SPARSE, metric: "BM25", queries: new Float32Array(0), queryCount: 1, topK },
    sparse: { offsets: Uint32Array.of(0, terms.length), terms, values: weights },
    bm25: { k1: K1, b: B, averageLength: averageLength(statistics) },
  };
  const allowed = await allowedChunks(segment, { filter: null, readTs: 2n, clock: systemClock });
  const { refs, distances } = await sparse.search(search, allowed, tools);
  times.push(performance.now() - start);
  found.push({ rows: refs.row, scores: distances });
}
times.sort((a, b) => a - b);
const seconds = times.reduce((sum, ms) => sum + ms, 0) / 1_000;
const [p50, p99] = [times[times.length >> 1]!, times[Math.floor(times.length * 0.99)]!];
console.log(`queries    ${Math.round(queryCount / seconds)} /s, p50 ${p50.toFixed(3)} ms, p99 ${p99.toFixed(3)} ms`);

const live = titles.flatMap((title, id) => {
  if (isGone(id)) return [];
  const { terms, values: counts } = termCounts(analyzer, title);
  return [
    { id, length: counts.reduce((a, b) => a + b, 0), counts: new Map(Array.from(terms, (t, i) => [t, counts[i]!])) },
  ];
});
const mean = live.reduce((sum, { length }) => sum + length, 0) / live.length;
const checking = performance.now();
const CHECKED = Math.min(200, queryCount);
for (let q = 0; q < CHECKED; q++) {
  const { terms, values: counts } = termCounts(analyzer, queries[q]!);
  const weights = Array.from(terms, (term, i) => {
    const having = live.reduce((sum, text) => sum + (text.counts.has(term) ? 1 : 0), 0);
    return counts[i]! * Math.log(1 + (live.length - having + 0.5) / (having + 0.5));
  });
  const scores = live.map(({ length, counts: own }) =>
    terms.reduce((sum, term, i) => {
      const tf = own.get(term) ?? 0;
      return sum + (weights[i]! * tf * (K1 + 1)) / (tf + K1 * (1 - B + (B * length) / mean));
    }, 0),
  );
  const best = scores
    .filter((score) => score > 0)
    .sort((a, b) => b - a)
    .slice(0, topK);
  const wrong = best.findIndex((score, i) => !(Math.abs(score - (found[q]!.scores[i] ?? 0)) < 1e-5 * score));
  if (wrong >= 0 || found[q]!.scores.length !== best.length)
    throw new Error(`wrong ranking of ${JSON.stringify(queries[q])}`);
}
console.log(`checked    ${CHECKED} rankings: right; every text looked at: ${Math.round(CHECKED / since(checking))} /s`);
