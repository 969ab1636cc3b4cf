/** Parses the text of one row. Vectors, most of the text, are read separately; everything else is left to `parseJson`. */
import { parseJson } from "../protocol/public-codec.ts";
import { endOfList, readFloats, skipSpace } from "./float-list.ts";
import type { FieldsByName } from "./row-source.ts";

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const COLON = 0x3a;
const COMMA = 0x2c;
const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;
const OPEN_BRACKET = 0x5b;
const CLOSE_BRACKET = 0x5d;
const NULL = Buffer.from("null");

export interface VectorName {
  name: string;
  bytes: Buffer;
  dimension: number;
}

/** Fields whose values are worth reading separately: their names need no escape. */
export function vectorNames(fields: FieldsByName): VectorName[] {
  return [...fields.values()]
    .filter(({ type, name }) => type === "FloatVector" && /^\w+$/.test(name))
    .map(({ name, dimension = 0 }) => ({ name, bytes: Buffer.from(name), dimension }));
}

/**
 * The result of `JSON.parse`, except for long integers (bigints) and vectors of the right length (Float32Array). @throws as
 * parseJson
 */
export function parseRowText(text: Buffer, vectors: readonly VectorName[]): unknown {
  return (vectors.length > 0 ? withVectors(text, vectors) : undefined) ?? parseJson(text.toString("utf8"));
}

/** Undefined for what is not plainly an object with such vectors. */
function withVectors(text: Buffer, vectors: readonly VectorName[]): Record<string, unknown> | undefined {
  const found: { name: string; values: Float32Array }[] = [];
  const parts: Buffer[] = [];
  let taken = 0;
  let at = skipSpace(text, 0);
  if (text[at] !== OPEN_BRACE) return undefined;
  at = skipSpace(text, at + 1);
  while (text[at] === QUOTE) {
    const nameAt = at + 1;
    const nameEnd = text.indexOf(QUOTE, nameAt);
    if (nameEnd < 0 || text[nameEnd - 1] === BACKSLASH) return undefined;
    at = skipSpace(text, nameEnd + 1);
    if (text[at] !== COLON) return undefined;
    at = skipSpace(text, at + 1);
    const vector = text[at] === OPEN_BRACKET ? vectorNamed(vectors, text, nameAt, nameEnd) : undefined;
    if (vector !== undefined) {
      const values = readFloats(text, at, vector.dimension);
      if (values === null || found.some(({ name }) => name === vector.name)) return undefined;
      found.push({ name: vector.name, values });
      parts.push(text.subarray(taken, at), NULL);
      taken = endOfList();
      at = taken;
    } else at = endOfValue(text, at);
    at = skipSpace(text, at);
    if (text[at] !== COMMA) break;
    at = skipSpace(text, at + 1);
  }
  if (text[at] !== CLOSE_BRACE || found.length === 0) return undefined;
  parts.push(text.subarray(taken));
  const row = parseJson(Buffer.concat(parts).toString("utf8")) as Record<string, unknown>;
  for (const { name, values } of found) row[name] = values;
  return row;
}

function vectorNamed(vectors: readonly VectorName[], text: Buffer, start: number, end: number): VectorName | undefined {
  for (const vector of vectors) {
    if (vector.bytes.length === end - start && vector.bytes.compare(text, start, end) === 0) return vector;
  }
  return undefined;
}

/** The offset after a value; wherever it is taken to end, `parseJson` decides whether it is valid. */
function endOfValue(text: Buffer, start: number): number {
  let depth = 0;
  for (let at = start; at < text.length; at++) {
    const byte = text[at]!;
    if (byte === QUOTE) {
      at = endOfText(text, at);
      if (depth === 0) return at + 1;
    } else if (byte === OPEN_BRACE || byte === OPEN_BRACKET) depth++;
    else if (byte === CLOSE_BRACE || byte === CLOSE_BRACKET) {
      if (depth === 0) return at;
      if (--depth === 0) return at + 1;
    } else if (byte === COMMA && depth === 0) return at;
  }
  return text.length;
}

/** The quote that ends a text. */
function endOfText(text: Buffer, start: number): number {
  for (let at = start + 1; at < text.length; at++) {
    if (text[at] === BACKSLASH) at++;
    else if (text[at] === QUOTE) return at;
  }
  return text.length;
}
