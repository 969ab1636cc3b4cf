/**
 * text_match and phrase_match over the tokens of a chunk. A phrase matches where each of its tokens stands at its place
 * in the phrase, with at most `slop` between the token that is most displaced forwards and the one most displaced
 * backwards: 1 lets a word come in between, 2 lets two neighbours change places.
 */
import { type Bitset, newBitset } from "../segment/bitset.ts";
import { createAnalyzer } from "../text/analyzer.ts";
import { compileOnce } from "./compile-once.ts";
import type { MatchNode } from "./plan-node.ts";
import type { TokenColumn } from "./token-column.ts";

/** The constant's tokens; in a phrase one may come twice. */
interface Query {
  /** Different ones. */
  texts: string[];
  /** Of each token in order: which of `texts`, and where. */
  which: number[];
  places: number[];
  /** How often each of `texts` comes. */
  counts: number[];
}

const queryOf = compileOnce((node: MatchNode): Query => {
  const query: Query = { texts: [], which: [], places: [], counts: [] };
  for (const { text, position } of createAnalyzer(node.analyzerParams).tokenise(node.text)) {
    let at = query.texts.indexOf(text);
    if (at < 0) at = query.texts.push(text) - 1;
    query.which.push(at);
    query.places.push(position);
    query.counts[at] = (query.counts[at] ?? 0) + 1;
  }
  return query;
});

/** Rows among the candidates that match. A constant without tokens matches nothing. */
export function matchTokens(node: MatchNode, tokens: TokenColumn, candidates: Bitset, rowCount: number): Bitset {
  const query = queryOf(node);
  const bits = newBitset(rowCount);
  const isPhrase = node.slop !== undefined;
  const needed = isPhrase ? query.texts.length : (node.minTokens ?? 1);
  // By token number, 1 + which of the query's texts it is.
  const marks = new Uint16Array(tokens.numbers.size);
  let present = 0;
  query.texts.forEach((text, at) => {
    const number = tokens.numbers.get(text);
    if (number === undefined) return;
    marks[number] = at + 1;
    present++;
  });
  if (needed === 0 || present < needed) return bits;
  const seen = new Int32Array(query.texts.length).fill(-1);
  for (let w = 0; w < bits.length; w++) {
    let word = 0;
    for (let open = candidates[w]!; open !== 0; open &= open - 1) {
      const bit = 31 - Math.clz32(open & -open);
      const row = (w << 5) + bit;
      if (!hasTokens(tokens, row, marks, seen, needed)) continue;
      if (isPhrase && !hasPhrase(tokens, row, marks, query, node.slop!)) continue;
      word |= 1 << bit;
    }
    bits[w] = word;
  }
  return bits;
}

/** Whether `needed` different tokens of the query are in the row. */
function hasTokens(
  { tokens, offsets }: TokenColumn,
  row: number,
  marks: Uint16Array,
  seen: Int32Array,
  needed: number,
): boolean {
  let found = 0;
  for (let i = offsets[row]!, end = offsets[row + 1]!; i < end; i++) {
    const mark = marks[tokens[i]!]!;
    if (mark === 0 || seen[mark - 1] === row) continue;
    seen[mark - 1] = row;
    if (++found === needed) return true;
  }
  return false;
}

function hasPhrase(
  { tokens, positions, offsets }: TokenColumn,
  row: number,
  marks: Uint16Array,
  query: Query,
  slop: number,
): boolean {
  const places: number[][] = query.texts.map(() => []);
  for (let i = offsets[row]!, end = offsets[row + 1]!; i < end; i++) {
    const mark = marks[tokens[i]!]!;
    if (mark > 0) places[mark - 1]!.push(positions[i]!);
  }
  if (places.some((list, at) => list.length < query.counts[at]!)) return false;
  // How far from its place in the phrase each token of the row stands, ascending; the phrase is where all lists meet.
  const lists = query.which.map((at, i) => places[at]!.map((place) => place - query.places[i]!));
  return smallestRange(lists) <= slop;
}

/** The smallest difference between the greatest and the least of one value from each list. */
function smallestRange(lists: number[][]): number {
  const next = lists.map(() => 0);
  let smallest = Number.POSITIVE_INFINITY;
  for (;;) {
    let least = 0;
    let most = 0;
    for (let i = 1; i < lists.length; i++) {
      const value = lists[i]![next[i]!]!;
      if (value < lists[least]![next[least]!]!) least = i;
      if (value > lists[most]![next[most]!]!) most = i;
    }
    smallest = Math.min(smallest, lists[most]![next[most]!]! - lists[least]![next[least]!]!);
    // The least one can only come closer by its next value.
    next[least] = next[least]! + 1;
    if (smallest === 0 || next[least]! >= lists[least]!.length) return smallest;
  }
}
