/** The statistics of rows that BM25 needs, summed over segments, nodes and shards, and the weights computed from them. */
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

/** The weight of a term that `count` of the texts have: never 0, and the greater the fewer they are. */
export function inverseFrequency(rowCount: number, count: number): number {
  return Math.log(1 + (rowCount - count + 0.5) / (count + 0.5));
}

/** Mean number of terms per text; 1 if there are no texts. */
export function averageLength({ rowCount, totalLength }: TermStatistics): number {
  return totalLength > 0 ? totalLength / rowCount : 1;
}
