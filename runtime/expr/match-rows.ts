/**
 * text_match and phrase_match over the tokens of a chunk. A phrase matches where each of its tokens is at its place in the
 * phrase, with at most `slop` between the token displaced most forwards and the one displaced most backwards: 1 allows one word
 * in between, 2 allows two neighbours to change places.
 */
import type { Clock } from "../clock.ts";
import { type Bitset, maskTail, newBitset, setBit } from "../segment/bitset.ts";
import { createAnalyzer } from "../text/analyzer.ts";
import { takeTurn } from "../turns.ts";
import { compileOnce } from "./compile-once.ts";
import type { MatchNode } from "./plan-node.ts";
import type { TokenColumn } from "./token-column.ts";

/** The constant's tokens; a phrase may repeat one. */
interface Query {
  /** How many of them are different. */
  texts: string[];
  /** For each token in order: which of `texts` it is, and its position. */
  which: number[];
  places: number[];
  /** How often each of `texts` occurs. */
  counts: number[];
}

const queryOf = compileOnce((node: MatchNode): Query => {
  const query: Query = { texts: [], which: [], places: [], counts: [] };
  const numbers = new Map<string, number>();
  for (const { text, position } of createAnalyzer(node.analyzerParams).tokenise(node.text)) {
    const at = numbers.get(text) ?? numbers.size;
    if (at === numbers.size) {
      numbers.set(text, at);
      query.texts.push(text);
    }
    query.which.push(at);
    query.places.push(position);
    query.counts[at] = (query.counts[at] ?? 0) + 1;
  }
  return query;
});

/** Tokens of rows that are looked at in one turn: a millisecond or two. */
const TOKENS_A_TURN = 1 << 18;

/** By node and token column: which of its first rows match. */
const prepared = compileOnce((_: MatchNode) => new WeakMap<TokenColumn, { bits: Bitset; rowCount: number }>());

/** Finds the matching rows of a chunk of long texts in turns, before matchTokens is asked for them. */
export async function prepareMatch(
  node: MatchNode,
  tokens: TokenColumn,
  rowCount: number,
  clock: Clock,
): Promise<void> {
  const total = tokens.offsets[rowCount]! * (node.slop === undefined ? 1 : phraseCost(queryOf(node)));
  if (total <= TOKENS_A_TURN || (prepared(node).get(tokens)?.rowCount ?? 0) >= rowCount) return;
  const bits = newBitset(rowCount);
  const words = Math.max(1, Math.floor((bits.length * TOKENS_A_TURN) / total));
  for (let word = 0; word < bits.length; word += words) {
    await takeTurn(clock);
    const end = Math.min(bits.length, word + words);
    const candidates = newBitset(rowCount).fill(0xffffffff, word, end);
    maskTail(candidates, rowCount);
    bits.set(matchRows(node, tokens, candidates, rowCount).subarray(word, end), word);
  }
  prepared(node).set(tokens, { bits, rowCount });
}

/** Rows among the candidates that match. A constant without tokens matches nothing. */
export function matchTokens(node: MatchNode, tokens: TokenColumn, candidates: Bitset, rowCount: number): Bitset {
  const known = prepared(node).get(tokens);
  if (known === undefined || known.rowCount < rowCount) return matchRows(node, tokens, candidates, rowCount);
  return newBitset(rowCount).map((_, w) => candidates[w]! & known.bits[w]!);
}

function matchRows(node: MatchNode, tokens: TokenColumn, candidates: Bitset, rowCount: number): Bitset {
  const query = queryOf(node);
  const bits = newBitset(rowCount);
  const isPhrase = node.slop !== undefined;
  const needed = isPhrase ? query.texts.length : (node.minTokens ?? 1);
  // By token number: 1 + the index of the query's text that it is.
  const marks = new Uint32Array(tokens.numbers.size);
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
  marks: Uint32Array,
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
  marks: Uint32Array,
  query: Query,
  slop: number,
): boolean {
  const places: number[][] = query.texts.map(() => []);
  for (let i = offsets[row]!, end = offsets[row + 1]!; i < end; i++) {
    const mark = marks[tokens[i]!]!;
    if (mark > 0) places[mark - 1]!.push(positions[i]!);
  }
  if (places.some((list, at) => list.length < query.counts[at]!)) return false;
  const steps = query.which.reduce((sum, at) => sum + places[at]!.length, 0) * query.which.length;
  if (steps > STEPS_MAX) return meets(places, query, slop);
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
    // Only the next value of the least one can make the range smaller.
    next[least] = next[least]! + 1;
    if (smallest === 0 || next[least]! >= lists[least]!.length) return smallest;
  }
}

/** Beyond this many steps from value to value, all values are looked at at once. */
const STEPS_MAX = 4_096;

/** How much more a phrase costs than plain tokens, roughly: its words are compared at all places of a row. */
function phraseCost({ which }: Query): number {
  return 8 + (which.length >>> 3);
}

/**
 * Whether the phrase is somewhere in a row, with the same answer as smallestRange, at a cost that repeated tokens do not raise:
 * one bit for each place where it may begin, and for each token the places that leave it close enough.
 */
function meets(places: readonly number[][], query: Query, slop: number): boolean {
  const span = query.places.reduce((max, place) => Math.max(max, place), 0);
  const most = places.reduce((max, list) => Math.max(max, list.at(-1)!), 0);
  if (slop >= most + span) return true;
  const words = ((most + span + slop) >>> 5) + 1;
  const near = places.map((list) => {
    const bits = new Uint32Array(words);
    for (const place of list) setBit(bits, place);
    for (let width = 1; width <= slop; width *= 2) orShifted(bits, Math.min(width, slop + 1 - width));
    return bits;
  });
  const open = new Uint32Array(words).fill(0xffffffff);
  query.which.forEach((at, i) => {
    const shift = span - query.places[i]!;
    for (let w = 0; w < words; w++) open[w] = open[w]! & shifted(near[at]!, w, shift);
  });
  return open.some((word) => word !== 0);
}

function orShifted(bits: Uint32Array, shift: number): void {
  // From the end, so that nothing is overwritten before it is read.
  for (let w = bits.length - 1; w >= 0; w--) bits[w] = bits[w]! | shifted(bits, w, shift);
}

/** Word w of the bits, shifted up. */
function shifted(bits: Uint32Array, w: number, shift: number): number {
  const from = w - (shift >>> 5);
  const rest = shift & 31;
  if (from < 0) return 0;
  if (rest === 0) return bits[from]!;
  return (bits[from]! << rest) | (from === 0 ? 0 : bits[from - 1]! >>> (32 - rest));
}
