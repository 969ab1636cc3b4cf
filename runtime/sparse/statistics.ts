/** What BM25 has to know of rows, added up over segments, nodes and shards, and what it makes of it. */
import type { TermStatistics } from "../protocol/values.ts";

export function noStatistics(termCount: number): TermStatistics {
  return { rowCount: 0, totalLength: 0, counts: new Float64Array(termCount) };
}

/** Both of the same terms. */
export function addStatistics(sum: TermStatistics, part: TermStatistics): void {
  sum.rowCount += part.rowCount;
  sum.totalLength += part.totalLength;
  for (let i = 0; i < sum.counts.length; i++) sum.counts[i] = sum.counts[i]! + part.counts[i]!;
}

/** How much a term says that `count` of the texts have: never 0, and more the fewer they are. */
export function inverseFrequency(rowCount: number, count: number): number {
  return Math.log(1 + (rowCount - count + 0.5) / (count + 0.5));
}

/** Terms a text; 1 where there is none. */
export function averageLength({ rowCount, totalLength }: TermStatistics): number {
  return totalLength > 0 ? totalLength / rowCount : 1;
}
