/** Texts as sparse vectors, the input of BM25. A term's index is its id (text/term-id.ts), its value how often it occurs. */
import type { Analyzer } from "../text/analyzer.ts";
import { termId } from "../text/term-id.ts";
import type { Token } from "../text/token.ts";
import type { Pace } from "./pace.ts";

export interface TermCounts {
  /** Ascending. */
  terms: Uint32Array;
  values: Float32Array;
}

export function termCounts(analyzer: Analyzer, text: string): TermCounts {
  const counts = new Map<number, number>();
  count(analyzer.tokenise(text), counts);
  return countsOf(counts);
}

/** The work of analysing a character, in units of a pace: a new stem takes as long as some thousand postings. */
const WORK_A_CHARACTER = 32;

/** The same in turns. @throws VdbError deadline_exceeded */
export async function termCountsInTurns(analyzer: Analyzer, text: string, pace: Pace): Promise<TermCounts> {
  const counts = new Map<number, number>();
  let end = 0;
  for (const tokens of analyzer.pieces(text)) {
    count(tokens, counts);
    const { end: next = end } = tokens.at(-1) ?? {};
    if (pace.isDue(WORK_A_CHARACTER * (16 + next - end))) await pace.turn();
    end = next;
  }
  return countsOf(counts);
}

function count(tokens: readonly Token[], counts: Map<number, number>): void {
  for (const { text: term } of tokens) {
    const id = termId(term);
    counts.set(id, (counts.get(id) ?? 0) + 1);
  }
}

function countsOf(counts: ReadonlyMap<number, number>): TermCounts {
  const terms = Uint32Array.from(counts.keys()).sort();
  return { terms, values: Float32Array.from(terms, (term) => counts.get(term)!) };
}
