/** Takes some of the query vectors of a search. */
import type { VectorSearch } from "../protocol/values.ts";

type Queries = Pick<VectorSearch, "queries" | "queryCount" | "sparse">;

/** The queries in [from, to), as views. */
export function queriesOf(search: VectorSearch, from: number, to: number): Queries {
  const { queries, queryCount, sparse } = search;
  const width = queries.length / queryCount;
  const some: Queries = { queries: queries.subarray(from * width, to * width), queryCount: to - from };
  if (sparse === undefined) return some;
  const { offsets, terms, values } = sparse;
  const start = offsets[from]!;
  const end = offsets[to]!;
  const rebased = offsets.subarray(from, to + 1).map((offset) => offset - start);
  return {
    ...some,
    sparse: { offsets: rebased, terms: terms.subarray(start, end), values: values.subarray(start, end) },
  };
}
