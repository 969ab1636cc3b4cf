/**
 * Long lists of plain values, `[1, 2, -3.5]` or `["a", 'b']`, read in one pass: as single words and nodes, a delete of 100,000
 * keys would hold the event loop for long. Whatever is not plain (octal numbers, values of two kinds) is left to the parser.
 */
import {
  CLOSE_LIST,
  COMMA,
  DOT,
  endOfString,
  isQuote,
  LOWER_E,
  MINUS,
  OPEN_LIST,
  PLUS,
  skipBlanks,
  skipDigits,
  UPPER_E,
} from "./characters.ts";
import { compact } from "./constant.ts";
import { isInt64, parseString } from "./literal.ts";

/** Shorter lists are quick anyway, and the parser shows where an error in them is. */
const VALUES_MIN = 32;

/** A sign and the digits of the longest integer of 64 bits. */
const INT64_CHARS_MAX = 20;

export interface PlainList {
  /** Numbers (integers of 64 bits as bigints where a number is not exact), or texts. */
  values: (number | bigint)[] | string[];
  /** Positions of whole numbers that are written as floats. */
  floats: ReadonlySet<number>;
  /** The offset after the closing bracket. */
  end: number;
}

const NO_FLOATS: ReadonlySet<number> = new Set();

/** Null when there is no such list at the offset. @throws ExpressionError at an escape that strings do not have */
export function readPlainList(text: string, offset: number): PlainList | null {
  if (text.charCodeAt(offset) !== OPEN_LIST) return null;
  const isText = isQuote(text.charCodeAt(skipBlanks(text, offset + 1)));
  const values: (number | bigint | string)[] = [];
  let floats: Set<number> | undefined;
  let at = offset + 1;
  for (;;) {
    at = skipBlanks(text, at);
    // A comma may follow the last value.
    if (text.charCodeAt(at) === CLOSE_LIST) break;
    const end = isText ? endOfText(text, at) : endOfNumber(text, at);
    if (end < 0) return null;
    if (isText) values.push(textAt(text, at, end));
    else {
      const number = text.slice(at, end);
      const value = numberOf(number);
      if (value === undefined) return null;
      if (Number.isInteger(value) && isFloat(number)) {
        floats ??= new Set();
        floats.add(values.length);
      }
      values.push(value);
    }
    at = skipBlanks(text, end);
    const next = text.charCodeAt(at);
    if (next === CLOSE_LIST) break;
    if (next !== COMMA) return null;
    at++;
  }
  if (values.length < VALUES_MIN) return null;
  return { values: values as PlainList["values"], floats: floats ?? NO_FLOATS, end: at + 1 };
}

/** The end of the number; negative: not a decimal number. */
function endOfNumber(text: string, offset: number): number {
  const start = text.charCodeAt(offset) === MINUS ? offset + 1 : offset;
  let at = skipDigits(text, start);
  const hasPoint = text.charCodeAt(at) === DOT;
  const isOctal = !hasPoint && at - start > 1 && text[start] === "0";
  if (isOctal) return -1;
  if (hasPoint) at = skipDigits(text, at + 1);
  if (at === start + Number(hasPoint)) return -1;
  const code = text.charCodeAt(at);
  if (code !== LOWER_E && code !== UPPER_E) return at;
  const sign = text.charCodeAt(at + 1);
  const exponent = sign === PLUS || sign === MINUS ? at + 2 : at + 1;
  const end = skipDigits(text, exponent);
  return end === exponent ? -1 : end;
}

function isFloat(number: string): boolean {
  return /[.eE]/.test(number);
}

/** Undefined when it is too large. */
function numberOf(number: string): number | bigint | undefined {
  const value = Number(number);
  if (!Number.isFinite(value)) return undefined;
  if (!Number.isInteger(value) || Number.isSafeInteger(value) || isFloat(number)) return value;
  if (number.length > INT64_CHARS_MAX) return undefined;
  const exact = BigInt(number);
  return isInt64(exact) ? compact(exact) : undefined;
}

/** The end of the text; negative: not a text. */
function endOfText(text: string, offset: number): number {
  return isQuote(text.charCodeAt(offset)) ? endOfString(text, offset) : -1;
}

function textAt(text: string, start: number, end: number): string {
  const between = text.slice(start + 1, end - 1);
  return between.includes("\\") ? parseString(text.slice(start, end), start) : between;
}
