/**
 * The values of literals: numbers in C notation, strings with C escapes, and values given for templates.
 */
import type { Literal } from "./ast.ts";
import { ExpressionError } from "./expression-error.ts";

/** One more than the largest int64: only allowed as the operand of a minus. */
const INT64_MAGNITUDE_MAX = 2n ** 63n;
export const INT64_MIN = -INT64_MAGNITUDE_MAX;
export const INT64_MAX = INT64_MAGNITUDE_MAX - 1n;

/** Decimal, 0octal, 0xhex or 0bbinary. @throws ExpressionError beyond 64 bits, or with an 8 or 9 after a leading 0. */
export function parseInteger(text: string, offset: number): bigint {
  const isOctal = text.length > 1 && /^0\d/.test(text);
  if (isOctal && /[89]/.test(text)) throw new ExpressionError(`'${text}' is not an octal number`, offset);
  const value = BigInt(isOctal ? `0o${text.slice(1)}` : text);
  if (value > INT64_MAGNITUDE_MAX) throw new ExpressionError(`integer ${text} does not fit in 64 bits`, offset);
  return value;
}

/** C-style decimal or hexadecimal float. @throws ExpressionError when it is not finite. */
export function parseFloatLiteral(text: string, offset: number): number {
  const value = /^0[xX]/.test(text) ? parseHexFloat(text) : Number(text);
  if (!Number.isFinite(value)) throw new ExpressionError(`number ${text} is out of range`, offset);
  return value;
}

function parseHexFloat(text: string): number {
  const [mantissa, exponent] = text.slice(2).toLowerCase().split("p") as [string, string];
  const [whole, fraction = ""] = mantissa.split(".") as [string, string?];
  const digits = Number.parseInt(`${whole}${fraction}`, 16);
  return digits * 2 ** (Number(exponent) - 4 * fraction.length);
}

const SIMPLE_ESCAPES: Record<string, string> = {
  a: "\x07",
  b: "\b",
  f: "\f",
  n: "\n",
  r: "\r",
  t: "\t",
  v: "\v",
  "\\": "\\",
  "'": "'",
  '"': '"',
  "?": "?",
  // LIKE's own escapes: a pattern may write them with one backslash or two.
  "%": "\\%",
  _: "\\_",
};

const ESCAPE = /\\(?:([0-7]{1,3})|x([0-9a-fA-F]{1,2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|(.))/g;

/** The text between the quotes of a string literal, prefix (`u8`, `L`, ...) and quotes included in the input. */
export function parseString(text: string, offset: number): string {
  const body = text.slice(text.search(/["']/) + 1, -1);
  if (!body.includes("\\")) return body;
  return body.replace(ESCAPE, (match, octal?: string, hex?: string, u4?: string, u8?: string, simple?: string) => {
    if (simple === undefined) return codePoint(Number.parseInt((octal ?? hex ?? u4 ?? u8)!, octal ? 8 : 16), offset);
    const value = SIMPLE_ESCAPES[simple];
    if (value === undefined) throw new ExpressionError(`'${match}' is not an escape that strings have`, offset);
    return value;
  });
}

function codePoint(value: number, offset: number): string {
  if (value > 0x10ffff) throw new ExpressionError("escaped character is beyond unicode", offset);
  return String.fromCodePoint(value);
}

const PATH_PART = /\[(?:("(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')|(\d+))\]/g;

/** `a["b"][0]` as a name and its path. */
export function parsePath(text: string, offset: number): { name: string; path: (string | number)[] } {
  const bracket = text.indexOf("[");
  if (bracket < 0) return { name: text, path: [] };
  const path: (string | number)[] = [];
  for (const [, key, position] of text.slice(bracket).matchAll(PATH_PART)) {
    path.push(key === undefined ? Number(position) : parseString(key, offset));
  }
  return { name: text.slice(0, bracket), path };
}

/** Far more than a comparison with a JSON array needs. */
const TEMPLATE_DEPTH_MAX = 64;

/**
 * A value that a caller gives for `{name}`: bool, number, bigint, string, or an array of these.
 * @throws ExpressionError for anything else
 */
export function literalOf(value: unknown, name: string, offset: number, depth = 0): Literal {
  if (typeof value === "boolean") return { type: "bool", value };
  if (typeof value === "string") return { type: "string", value };
  if (typeof value === "bigint" && isInt64(value)) return { type: "int", value };
  if (typeof value === "number" && Number.isInteger(value) && isInt64(BigInt(value))) {
    return { type: "int", value: BigInt(value) };
  }
  if (typeof value === "number" && Number.isFinite(value)) return { type: "float", value };
  if (Array.isArray(value) && depth < TEMPLATE_DEPTH_MAX) {
    return { type: "array", items: value.map((item) => literalOf(item, name, offset, depth + 1)) };
  }
  throw new ExpressionError(
    `the value of expression template variable name {${name}} must be a bool, number, string or array`,
    offset,
  );
}

export function isInt64(value: bigint): boolean {
  return value >= INT64_MIN && value <= INT64_MAX;
}
