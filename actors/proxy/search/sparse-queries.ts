/**
 * The queries of a search of a sparse field: sparse vectors, or texts where a BM25 function makes the field. Scores of
 * texts rest on statistics of the whole collection, which are asked of all its shards before the search itself.
 */
import type { ActorContext } from "../../../runtime/actor.ts";
import { bm25Params, checkSparseSearchParams } from "../../../runtime/ann/sparse-index-params.ts";
import type { Call } from "../../../runtime/bus/bus.ts";
import type { Clock } from "../../../runtime/clock.ts";
import { VdbError } from "../../../runtime/errors.ts";
import type { CollectionDoc, IndexDefinition } from "../../../runtime/protocol/catalog.ts";
import { type SearchShard, shardTermStatistics } from "../../../runtime/protocol/streaming.ts";
import type { SparseRows, VectorSearch } from "../../../runtime/protocol/values.ts";
import type { FieldSchema, VectorType } from "../../../runtime/schema.ts";
import type { SparseVectorColumn } from "../../../runtime/segment/column.ts";
import { functionOf } from "../../../runtime/sparse/function-outputs.ts";
import { Pace } from "../../../runtime/sparse/pace.ts";
import { firstPair, pairsOf, placeOf } from "../../../runtime/sparse/sparse-rows.ts";
import { addStatistics, averageLength, inverseFrequency, noStatistics } from "../../../runtime/sparse/statistics.ts";
import { type TermCounts, termCountsInTurns } from "../../../runtime/sparse/term-counts.ts";
import { fieldAnalyzer } from "../../../runtime/text/field-analyzer.ts";
import { askOwner, planned } from "../ask-owner.ts";
import { queryColumnOf } from "./query-vectors.ts";

const QUERIES_MAX = 16_384;

/** Of a query, in units of a pace. */
const WORK_A_TERM = 16;

type Queries = Pick<VectorSearch, "queries" | "queryCount" | "sparse" | "bm25" | "dropRatio">;

/**
 * Texts are analysed in turns.
 * @param params of the search; those that concern other indexes are left alone
 * @throws VdbError missing_field, malformed_request, invalid_parameter, deadline_exceeded
 */
export async function sparseQueries(
  data: unknown,
  { schema }: Pick<CollectionDoc, "schema">,
  field: FieldSchema & { type: VectorType },
  index: Pick<IndexDefinition, "params">,
  { params, clock, deadline }: { params: Readonly<Record<string, unknown>>; clock: Clock; deadline: number },
): Promise<Queries> {
  const made = functionOf(schema, field);
  const sparse =
    made === undefined
      ? rowsOf(queryColumnOf(data, field) as SparseVectorColumn)
      : await textQueries(data, made.input, params.analyzer_name, new Pace(clock, deadline));
  return {
    queries: new Float32Array(0),
    queryCount: sparse.offsets.length - 1,
    sparse,
    // The mean length is not known before all shards have been asked.
    ...(made === undefined ? {} : { bm25: { ...bm25Params(index.params), averageLength: 1 } }),
    ...checkSparseSearchParams(params),
  };
}

/** Pairs with the value 0 say nothing. */
function rowsOf(column: SparseVectorColumn): SparseRows {
  const pairs = pairsOf(column);
  const rows = Array.from({ length: column.offsets.length - 1 }, (_, row): TermCounts => {
    const start = firstPair(pairs, row);
    const at = Array.from({ length: firstPair(pairs, row + 1) - start }, (_, i) => start + i);
    const kept = at.filter((pair) => pairs.values[2 * pair + 1]! > 0);
    return {
      terms: Uint32Array.from(kept, (pair) => pairs.terms[2 * pair]!),
      values: Float32Array.from(kept, (pair) => pairs.values[2 * pair + 1]!),
    };
  });
  return joined(rows);
}

async function textQueries(data: unknown, input: FieldSchema, analyzerName: unknown, pace: Pace): Promise<SparseRows> {
  if (data === undefined || data === null) {
    throw new VdbError("missing_field", "missing required parameters, error: data is required");
  }
  if (!Array.isArray(data) || !data.every((text) => typeof text === "string")) {
    throw new VdbError("invalid_parameter", "please provide varchar/text for BM25 Function based search");
  }
  if (data.length < 1 || data.length > QUERIES_MAX) {
    throw new VdbError(
      "invalid_parameter",
      `nq [${data.length}] is invalid, it should be in range [1, ${QUERIES_MAX}]`,
    );
  }
  const name = analyzerName === undefined || analyzerName === "" ? undefined : String(analyzerName);
  const analyzer = fieldAnalyzer(input).named(name);
  const rows: TermCounts[] = [];
  for (const text of data as string[]) rows.push(await termCountsInTurns(analyzer, text, pace));
  return joined(rows);
}

function joined(rows: readonly TermCounts[]): SparseRows {
  const offsets = new Uint32Array(rows.length + 1);
  for (let row = 0; row < rows.length; row++) offsets[row + 1] = offsets[row]! + rows[row]!.terms.length;
  const terms = new Uint32Array(offsets[rows.length]!);
  const values = new Float32Array(offsets[rows.length]!);
  for (let row = 0; row < rows.length; row++) {
    terms.set(rows[row]!.terms, offsets[row]);
    values.set(rows[row]!.values, offsets[row]);
  }
  return { offsets, terms, values };
}

/**
 * A search for texts with its terms weighed by what the collection has of them; any other search as it is. The
 * statistics are those of all rows that a read sees, of all partitions, whatever its filter: the score of a row is the
 * same in every search at one time.
 */
export async function withTermWeights(
  actor: ActorContext,
  collection: CollectionDoc,
  { search, freshness, readTs }: Pick<SearchShard, "search" | "freshness" | "readTs">,
  call: Call,
): Promise<VectorSearch> {
  const { sparse, bm25, fieldId } = search;
  if (sparse === undefined || bm25 === undefined) return search;
  const pace = new Pace(actor.clock, call.deadline);
  const distinct = new Set<number>();
  for (const term of sparse.terms) {
    if (pace.isDue(WORK_A_TERM)) await pace.turn();
    distinct.add(term);
  }
  const terms = Uint32Array.from(distinct).sort();
  if (terms.length === 0) return search;
  const parts = await Promise.all(
    collection.shards.map((shard) => {
      const request = { ...planned(collection, shard), freshness, fieldId, terms, readTs };
      return askOwner(actor, shardTermStatistics, { collection, shard }, request, call);
    }),
  );
  const sum = noStatistics(terms.length);
  for (const part of parts) addStatistics(sum, part);
  const weights = Float64Array.from(sum.counts, (count) => inverseFrequency(sum.rowCount, count));
  const values = new Float32Array(sparse.values.length);
  for (let i = 0; i < values.length; i++) {
    if (pace.isDue(WORK_A_TERM)) await pace.turn();
    values[i] = sparse.values[i]! * weights[placeOf(terms, sparse.terms[i]!, 0)]!;
  }
  return { ...search, sparse: { ...sparse, values }, bm25: { ...bm25, averageLength: averageLength(sum) } };
}
