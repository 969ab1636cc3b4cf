/** Characters of the filter language, by their codes, and what begins or ends with them. */

export const TAB = 9;
export const LINE_FEED = 10;
export const CARRIAGE_RETURN = 13;
export const BLANK = 32;
export const DOUBLE_QUOTE = 34;
export const SINGLE_QUOTE = 39;
export const PLUS = 43;
export const COMMA = 44;
export const MINUS = 45;
export const DOT = 46;
export const EQUALS = 61;
export const UPPER_E = 69;
export const OPEN_LIST = 91;
export const BACKSLASH = 92;
export const CLOSE_LIST = 93;
export const UNDERSCORE = 95;
export const LOWER_E = 101;
const LINE_SEPARATOR = 0x2028;
const PARAGRAPH_SEPARATOR = 0x2029;

/** The offset of the next character that is no blank. */
export function skipBlanks(text: string, offset: number): number {
  let at = offset;
  for (;;) {
    const code = text.charCodeAt(at);
    if (code !== BLANK && code !== TAB && code !== LINE_FEED && code !== CARRIAGE_RETURN) return at;
    at++;
  }
}

/** The offset of the next character that is no digit. */
export function skipDigits(text: string, offset: number): number {
  let at = offset;
  while (isDigit(text.charCodeAt(at))) at++;
  return at;
}

/** The offset behind a string, given that of its opening quote; negative when it is not closed, or holds a line break. */
export function endOfString(text: string, offset: number): number {
  const quote = text.charCodeAt(offset);
  for (let at = offset + 1; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code === quote) return at + 1;
    if (code === LINE_FEED || code === CARRIAGE_RETURN) return -1;
    if (code === BACKSLASH && isLineEnd(text.charCodeAt(++at))) return -1;
  }
  return -1;
}

export function isQuote(code: number): boolean {
  return code === DOUBLE_QUOTE || code === SINGLE_QUOTE;
}

export function isDigit(code: number): boolean {
  return code >= 48 && code <= 57;
}

export function isLetter(code: number): boolean {
  return (code >= 97 && code <= 122) || (code >= 65 && code <= 90) || code === UNDERSCORE;
}

function isLineEnd(code: number): boolean {
  return code === LINE_FEED || code === CARRIAGE_RETURN || code === LINE_SEPARATOR || code === PARAGRAPH_SEPARATOR;
}
