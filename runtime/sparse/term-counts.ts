/** Texts as sparse vectors: what BM25 compares. A term's index is its id (text/term-id.ts), its value how often it occurs. */
import type { Analyzer } from "../text/analyzer.ts";
import { termId } from "../text/term-id.ts";

export interface TermCounts {
  /** Ascending. */
  terms: Uint32Array;
  values: Float32Array;
}

export function termCounts(analyzer: Analyzer, text: string): TermCounts {
  const counts = new Map<number, number>();
  for (const { text: term } of analyzer.tokenise(text)) {
    const id = termId(term);
    counts.set(id, (counts.get(id) ?? 0) + 1);
  }
  const terms = Uint32Array.from(counts.keys()).sort();
  return { terms, values: Float32Array.from(terms, (term) => counts.get(term)!) };
}
