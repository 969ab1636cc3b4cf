/**
 * The words of the filter language, read one by one as the parser asks for them: nothing after an error is read. Keywords exist
 * in all-lower and ALL-UPPER.
 *
 * A path such as `a["b"][0]` is one word (no blanks inside), as in Milvus's grammar: `a` followed by a list would
 * otherwise be ambiguous with `a in[1]`.
 */
import {
  DOT,
  EQUALS,
  endOfString,
  isDigit,
  isLetter,
  isQuote,
  OPEN_LIST,
  skipBlanks,
  skipDigits,
} from "./characters.ts";
import { ExpressionError } from "./expression-error.ts";
import { type PlainList, readPlainList } from "./list-literal.ts";

type Mark = "=" | "(" | ")" | "[" | "]" | "{" | "}" | ",";

export type WordKind =
  | "end"
  | "float"
  | "int"
  | "string"
  | "bool"
  /** A long list of plain values. */
  | "list"
  | "identifier"
  | "path"
  /** `iso` or `interval` before a text; elsewhere they may be names of fields. */
  | "time"
  | "is null"
  | "is not null"
  | "exists"
  | "like"
  | "in"
  | "and"
  | "or"
  /** `!` or `not`. */
  | "not"
  | "~"
  /** `+` or `-`: between operands, or before one. */
  | "sign"
  | "**"
  /** Any other operator between two operands. */
  | "operator"
  | Mark;

export interface Word {
  readonly kind: WordKind;
  readonly text: string;
  readonly start: number;
  readonly end: number;
  /** The values of a list. */
  readonly list?: PlainList;
}

const KEYWORDS: ReadonlyMap<string, WordKind> = new Map([
  ...(["and", "or", "not", "in", "like", "exists"] as const).flatMap((word): [string, WordKind][] => [
    [word, word],
    [word.toUpperCase(), word],
  ]),
  ...["true", "True", "TRUE", "false", "False", "FALSE"].map((word): [string, WordKind] => [word, "bool"]),
]);

const STRING_PREFIXES = new Set(["u8", "u", "U", "L"]);
const TIME_WORDS = new Set(["iso", "ISO", "interval", "INTERVAL"]);

const FLOAT =
  /0[xX](?:[0-9a-fA-F]*\.[0-9a-fA-F]+|[0-9a-fA-F]+\.?)[pP][+-]?\d+|(?:\d+\.\d*|\.\d+)(?:[eE][+-]?\d+)?|\d+[eE][+-]?\d+/y;
const INT = /0[xX][0-9a-fA-F]+|0[bB][01]+|\d+/y;
const PATH = /(?:\[(?:"(?:[^"\\\r\n]|\\.)*"|'(?:[^'\\\r\n]|\\.)*'|0|[1-9][0-9]*)\])+/y;
const NULL_TEST = /is[ \t]+(not[ \t]+)?null\b|IS[ \t]+(NOT[ \t]+)?NULL\b/y;
const BEFORE_STRING = /[ \t]*["']/y;

export const META = "$meta";

const MARKS = "=()[]{},";
const OPERATORS = "<>*/%&|^";
const PAIRS: ReadonlyMap<string, WordKind> = new Map([
  ["&&", "and"],
  ["||", "or"],
  ["**", "**"],
  ...["<<", ">>", "<=", ">=", "==", "!="].map((pair): [string, WordKind] => [pair, "operator"]),
]);

/** The word at or after the offset. @throws ExpressionError at a character that begins no word */
export function readWord(text: string, offset: number): Word {
  const start = skipBlanks(text, offset);
  if (start >= text.length) return { kind: "end", text: "", start: text.length, end: text.length };
  const code = text.charCodeAt(start);
  if (isLetter(code)) return readName(text, start);
  if (isDigit(code) || (code === DOT && isDigit(text.charCodeAt(start + 1)))) return readNumber(text, start);
  if (isQuote(code)) return readString(text, start, start);
  if (text.startsWith(META, start)) return withPath(text, start, start + META.length);
  const list = code === OPEN_LIST ? readPlainList(text, start) : null;
  if (list !== null) return { ...wordOf("list", text, start, list.end), list };
  return readSymbol(text, start);
}

function wordOf(kind: WordKind, text: string, start: number, end: number): Word {
  return { kind, text: text.slice(start, end), start, end };
}

function readName(text: string, start: number): Word {
  let end = start + 1;
  while (isLetter(text.charCodeAt(end)) || isDigit(text.charCodeAt(end))) end++;
  const name = text.slice(start, end);
  const next = text.charCodeAt(end);
  if (isQuote(next) && STRING_PREFIXES.has(name)) return readString(text, start, end);
  const kind = KEYWORDS.get(name);
  if (kind !== undefined && (next !== OPEN_LIST || kind === "in")) return { kind, text: name, start, end };
  if ((name === "is" || name === "IS") && NULL_TEST.test(at(NULL_TEST, start, text))) {
    const isNegated = /not/i.test(text.slice(start, NULL_TEST.lastIndex));
    return wordOf(isNegated ? "is not null" : "is null", text, start, NULL_TEST.lastIndex);
  }
  if (TIME_WORDS.has(name) && BEFORE_STRING.test(at(BEFORE_STRING, end, text)))
    return { kind: "time", text: name, start, end };
  const word = next === OPEN_LIST ? withPath(text, start, end) : undefined;
  if (word?.kind === "path") return word;
  return { kind: kind ?? "identifier", text: name, start, end };
}

/** A name and what follows it in brackets. */
function withPath(text: string, start: number, end: number): Word {
  const isPath = PATH.test(at(PATH, end, text));
  return isPath ? wordOf("path", text, start, PATH.lastIndex) : wordOf("identifier", text, start, end);
}

/** Moves the expression to that position of the text. */
function at(expression: RegExp, offset: number, text: string): string {
  expression.lastIndex = offset;
  return text;
}

function readNumber(text: string, start: number): Word {
  const end = skipDigits(text, start);
  const code = text.charCodeAt(end);
  // Most are whole, and decimal.
  if (end > start && code !== DOT && !isLetter(code)) return wordOf("int", text, start, end);
  if (FLOAT.test(at(FLOAT, start, text))) return wordOf("float", text, start, FLOAT.lastIndex);
  INT.test(at(INT, start, text));
  return wordOf("int", text, start, INT.lastIndex);
}

/** @throws ExpressionError when the string is not closed */
function readString(text: string, start: number, quoteAt: number): Word {
  const end = endOfString(text, quoteAt);
  if (end < 0) throw new ExpressionError("string is not closed, or holds a line break", quoteAt);
  return wordOf("string", text, start, end);
}

function readSymbol(text: string, start: number): Word {
  const second = text.charCodeAt(start + 1);
  const isPair = second === EQUALS || second === text.charCodeAt(start);
  const pair = isPair ? PAIRS.get(text.slice(start, start + 2)) : undefined;
  if (pair !== undefined) return wordOf(pair, text, start, start + 2);
  const symbol = text[start]!;
  const end = start + 1;
  if (MARKS.includes(symbol)) return { kind: symbol as Mark, text: symbol, start, end };
  if (OPERATORS.includes(symbol)) return { kind: "operator", text: symbol, start, end };
  if (symbol === "+" || symbol === "-") return { kind: "sign", text: symbol, start, end };
  if (symbol === "!") return { kind: "not", text: symbol, start, end };
  if (symbol === "~") return { kind: "~", text: symbol, start, end };
  throw new ExpressionError(`unexpected character '${String.fromCodePoint(text.codePointAt(start)!)}'`, start);
}
