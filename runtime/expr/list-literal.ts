/**
 * Long lists of plain keys, `[1, 2, -3]` or `["a", 'b']`, read in one go: as tokens and nodes each, a delete of 100,000 keys
 * would hold the event loop for a long time. Whatever is not plain (fractions, escapes, 16 digits) is left to the parser.
 */

/** Shorter ones are quick anyway, and faults in them are shown where they are. */
const VALUES_MIN = 32;

const DIGITS_MAX = 15;

const TAB = 9;
const LINE_FEED = 10;
const CARRIAGE_RETURN = 13;
const BLANK = 32;
const DOUBLE_QUOTE = 34;
const SINGLE_QUOTE = 39;
const COMMA = 44;
const MINUS = 45;
const ZERO = 48;
const NINE = 57;
const OPEN = 91;
const BACKSLASH = 92;
const CLOSE = 93;

export interface PlainList {
  /** Integers that are exact, or texts. */
  values: number[] | string[];
  /** Behind the closing bracket. */
  end: number;
}

/** Null when there is no such list at the offset. */
export function readPlainList(text: string, offset: number): PlainList | null {
  if (text.charCodeAt(offset) !== OPEN) return null;
  const first = text.charCodeAt(skipBlanks(text, offset + 1));
  const isText = first === DOUBLE_QUOTE || first === SINGLE_QUOTE;
  const values: (number | string)[] = [];
  let at = offset + 1;
  for (;;) {
    at = skipBlanks(text, at);
    // A comma may stand behind the last value.
    if (text.charCodeAt(at) === CLOSE) break;
    const end = isText ? endOfText(text, at) : endOfInteger(text, at);
    if (end < 0) return null;
    values.push(isText ? text.slice(at + 1, end - 1) : Number(text.slice(at, end)));
    at = skipBlanks(text, end);
    const next = text.charCodeAt(at);
    if (next === CLOSE) break;
    if (next !== COMMA) return null;
    at++;
  }
  return values.length < VALUES_MIN ? null : { values: values as number[] | string[], end: at + 1 };
}

function skipBlanks(text: string, offset: number): number {
  let at = offset;
  for (;;) {
    const code = text.charCodeAt(at);
    if (code !== BLANK && code !== TAB && code !== LINE_FEED && code !== CARRIAGE_RETURN) return at;
    at++;
  }
}

/** Negative: no decimal integer, or one of too many digits. */
function endOfInteger(text: string, offset: number): number {
  const start = text.charCodeAt(offset) === MINUS ? offset + 1 : offset;
  let at = start;
  while (text.charCodeAt(at) >= ZERO && text.charCodeAt(at) <= NINE) at++;
  const isOctal = at - start > 1 && text.charCodeAt(start) === ZERO;
  return at === start || at - start > DIGITS_MAX || isOctal ? -1 : at;
}

/** Negative: no text, or one with escapes. */
function endOfText(text: string, offset: number): number {
  const quote = text.charCodeAt(offset);
  if (quote !== DOUBLE_QUOTE && quote !== SINGLE_QUOTE) return -1;
  for (let at = offset + 1; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code === quote) return at + 1;
    if (code === BACKSLASH || code === LINE_FEED || code === CARRIAGE_RETURN) return -1;
  }
  return -1;
}
