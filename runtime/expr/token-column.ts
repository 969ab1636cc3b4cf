/**
 * The tokens of a text column's rows as numbers. They are made once per chunk and kept with it, so that the next text_match
 * costs one comparison per token. A growing chunk gets new columns with every append, but their first rows stay the same: its
 * token column is extended, never rebuilt.
 */
import type { BytesColumn } from "../segment/column.ts";
import { createAnalyzer } from "../text/analyzer.ts";
import { ownText } from "../text/token.ts";

/** Bytes of texts whose tokens are found between two looks at the clock: some milliseconds. */
const PIECE_BYTES = 16_384;

const INITIAL_TOKENS = 256;

/** More than a text of 65,535 bytes has. */
const POSITION_MAX = 65_535;

export interface TokenColumn {
  /** Token to its number, in the order of their first appearance. */
  readonly numbers: Map<string, number>;
  /** rowCount + 1 offsets into the two below. */
  offsets: Uint32Array;
  tokens: Uint32Array;
  /** The position of each token in its text, as the tokenizer counts. */
  positions: Uint16Array;
  rowCount: number;
}

const known = new WeakMap<BytesColumn, Map<string, TokenColumn>>();

export function newTokenColumn(): TokenColumn {
  return {
    numbers: new Map(),
    offsets: new Uint32Array(1),
    tokens: new Uint32Array(INITIAL_TOKENS),
    positions: new Uint16Array(INITIAL_TOKENS),
    rowCount: 0,
  };
}

/** An estimate: each token's text and map entry, and six bytes for each token of a row. */
export function tokenColumnBytes({ numbers, offsets, tokens, positions }: TokenColumn): number {
  return numbers.size * 64 + offsets.byteLength + tokens.byteLength + positions.byteLength;
}

/** Sets the column's tokens, which may cover more rows than it has. */
export function keepTokens(column: BytesColumn, analyzerParams: string | undefined, tokens: TokenColumn): void {
  let kept = known.get(column);
  if (kept === undefined) {
    kept = new Map();
    known.set(column, kept);
  }
  kept.set(analyzerParams ?? "", tokens);
}

export function forgetTokens(column: BytesColumn): void {
  known.delete(column);
}

/** Undefined when none are kept, or not for that many rows. */
export function keptTokens(
  column: BytesColumn,
  analyzerParams: string | undefined,
  rowCount: number,
): TokenColumn | undefined {
  const tokens = known.get(column)?.get(analyzerParams ?? "");
  return tokens !== undefined && tokens.rowCount >= rowCount ? tokens : undefined;
}

/** The tokens of the column's first rows. Callers that must not hold up others have prepared them before, in turns. */
export function tokensOf(column: BytesColumn, analyzerParams: string | undefined, rowCount: number): TokenColumn {
  const kept = keptTokens(column, analyzerParams, rowCount);
  if (kept !== undefined) return kept;
  const made = newTokenColumn();
  extendTokens(made, column, analyzerParams, rowCount);
  keepTokens(column, analyzerParams, made);
  return made;
}

/** The end of the rows from `from` on whose tokens are found in one turn: at least one row, at most `rowCount`. */
export function pieceEnd({ offsets }: BytesColumn, from: number, rowCount: number): number {
  let end = from + 1;
  while (end < rowCount && offsets[end + 1]! - offsets[from]! <= PIECE_BYTES) end++;
  return end;
}

/** Adds the tokens of the column's rows up to `end`; the existing ones belong to the same rows. */
export function extendTokens(
  target: TokenColumn,
  column: BytesColumn,
  analyzerParams: string | undefined,
  end: number,
): void {
  const analyzer = createAnalyzer(analyzerParams);
  const buffer = Buffer.from(column.bytes.buffer, column.bytes.byteOffset, column.bytes.length);
  if (target.offsets.length <= end) target.offsets = grown(target.offsets, end + 1);
  for (let row = target.rowCount; row < end; row++) {
    const text = buffer.toString("utf8", column.offsets[row]!, column.offsets[row + 1]!);
    let at = target.offsets[row]!;
    for (const token of text === "" ? [] : analyzer.tokenise(text)) {
      if (at === target.tokens.length) {
        target.tokens = grown(target.tokens, at + 1);
        target.positions = grown(target.positions, at + 1);
      }
      target.tokens[at] = numberOf(target.numbers, token.text);
      target.positions[at++] = Math.min(token.position, POSITION_MAX);
    }
    target.offsets[row + 1] = at;
    target.rowCount = row + 1;
  }
}

function numberOf(numbers: Map<string, number>, token: string): number {
  let number = numbers.get(token);
  if (number === undefined) {
    number = numbers.size;
    numbers.set(ownText(token), number);
  }
  return number;
}

function grown<T extends Uint16Array | Uint32Array>(values: T, needed: number): T {
  const larger = new (values.constructor as new (length: number) => T)(Math.max(needed, 2 * values.length));
  larger.set(values);
  return larger;
}
