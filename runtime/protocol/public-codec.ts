/**
 * The public API's encodings: JSON for everybody, MessagePack for speed. Both carry the same bodies.
 *
 * JSON keeps 64-bit integers exact both ways: large ones are parsed to bigint and written as plain digits, as Milvus
 * does. Float32 arrays are written as the shortest decimals that read back as the same float32, bytes as base64.
 */
import JsonBig from "json-bigint";
import type { Clock } from "../clock.ts";
import { VdbError } from "../errors.ts";
import { takeTurn } from "../turns.ts";
import { decode, encode } from "./codec.ts";

export const JSON_TYPE = "application/json";
export const MSGPACK_TYPE = "application/msgpack";

/** Integers that JSON.parse might round: 16 digits or more, not part of a fraction. Beyond 40 no type of ours takes them. */
const LONG_INTEGER = /(?<![\d.eE+-])-?\d{16,40}(?![\d.eE])/;

/** The same, and every text with the colon that makes it a key: digits inside of texts are no integers. */
const TEXTS_AND_LONG_INTEGERS = /"[^"\\]*(?:\\.[^"\\]*)*"(\s*:)?|(?<![\d.eE+-])-?\d{16,40}(?![\d.eE])/gs;

const jsonBig = JsonBig({ useNativeBigInt: true, protoAction: "ignore", constructorAction: "ignore" });

/** @throws VdbError malformed_request */
export function decodePublic(bytes: Uint8Array, contentType: string): unknown {
  if (!contentType.startsWith(JSON_TYPE)) {
    if (contentType.startsWith(MSGPACK_TYPE)) return parseMsgpack(bytes);
    throw new VdbError(
      "malformed_request",
      `content type ${contentType} is not supported: use ${JSON_TYPE} or ${MSGPACK_TYPE}`,
    );
  }
  if (bytes.length === 0) return {};
  return parseJson(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString("utf8"));
}

function parseMsgpack(bytes: Uint8Array): unknown {
  try {
    return decode(bytes);
  } catch (error) {
    throw new VdbError("malformed_request", `body is not valid MessagePack: ${problemOf(error)}`);
  }
}

export function parseJson(text: string): unknown {
  try {
    return LONG_INTEGER.test(text) ? parseExact(text) : JSON.parse(text);
  } catch (error) {
    throw new VdbError("malformed_request", `can only accept json format request, error: ${problemOf(error)}`);
  }
}

/** Both parsers go down a value's levels on the stack. */
function problemOf(error: unknown): string {
  const { message } = error as Error;
  return /call stack/i.test(message) ? "values are nested too deeply" : message;
}

/**
 * JSON with long integers as bigints. They are marked as texts, `#i` in front, before JSON.parse sees them; texts that
 * might be taken for one are marked with `#t`. (json-bigint's parser takes long fractions for integers and throws.)
 */
function parseExact(text: string): unknown {
  const marked = text.replace(TEXTS_AND_LONG_INTEGERS, (token: string, colon: string | undefined) => {
    // A leading zero stays, for JSON.parse to refuse.
    if (!token.startsWith('"')) return /^-?0/.test(token) ? token : `"#i${token}"`;
    const isPlain = colon !== undefined || (token[1] !== "#" && token[1] !== "\\");
    return isPlain ? token : `"#t${token.slice(1)}`;
  });
  return unmark(JSON.parse(marked));
}

function unmark(value: unknown): unknown {
  if (typeof value === "string") return value.startsWith("#") ? unmarkText(value) : value;
  if (typeof value !== "object" || value === null) return value;
  if (Array.isArray(value)) {
    const items = value as unknown[];
    // Vectors are long and hold plain numbers: those are passed over without a call each.
    for (let i = 0; i < items.length; i++) if (typeof items[i] !== "number") items[i] = unmark(items[i]);
    return items;
  }
  const fields = value as Record<string, unknown>;
  for (const key of Object.keys(fields)) {
    const field = fields[key];
    const unmarked = unmark(field);
    if (unmarked !== field) fields[key] = unmarked;
  }
  return fields;
}

function unmarkText(text: string): string | number | bigint {
  if (text.startsWith("#t")) return text.slice(2);
  const integer = BigInt(text.slice(2));
  const number = Number(integer);
  return Number.isSafeInteger(number) ? number : integer;
}

export function encodePublic(value: unknown, contentType: string): Uint8Array {
  return contentType.startsWith(JSON_TYPE) ? Buffer.from(toJson(value)) : encode(value);
}

/** Rows of a reply are written until they are about so many bytes, between two turns: a millisecond or two. */
const PIECE_BYTES = 65_536;

/** Of most numbers that are not short, and more than of true, false and null. */
const NUMBER_BYTES = 16;

/** As encodePublic; where `data` of a reply is a long list, its rows are written in turns. */
export async function encodeReply(value: unknown, contentType: string, clock: Clock): Promise<Uint8Array> {
  const { data } = (value ?? {}) as { data?: unknown };
  if (!contentType.startsWith(JSON_TYPE) || !Array.isArray(data)) return encodePublic(value, contentType);
  // A search's few hits.
  if (pieceEnd(data, 0) === data.length) return encodePublic(value, contentType);
  const pieces: Uint8Array[] = [];
  let before = "{";
  for (const [key, field] of Object.entries(value as object)) {
    if (field === undefined) continue;
    if (key !== "data") {
      before += `${JSON.stringify(key)}:${toJson(field)},`;
      continue;
    }
    pieces.push(Buffer.from(`${before}"data":[`));
    before = "],";
    for (let from = 0; from < data.length; ) {
      await takeTurn(clock);
      const to = pieceEnd(data, from);
      const text = toJson(data.slice(from, to));
      from = to;
      pieces.push(Buffer.from(from < data.length ? `${text.slice(1, -1)},` : text.slice(1, -1)));
    }
  }
  pieces.push(Buffer.from(`${before.slice(0, -1)}}`));
  return Buffer.concat(pieces);
}

/** Where the piece that begins at a row ends: it has one row at least. */
function pieceEnd(rows: readonly unknown[], from: number): number {
  let end = from;
  for (let bytes = 0; end < rows.length; end++) {
    bytes += jsonBytes(rows[end], 0);
    if (bytes > PIECE_BYTES && end > from) break;
  }
  return end;
}

/** Of values that go deeper it is not known how long they are. */
const LEVELS_LOOKED_AT = 5;

/** About so many bytes of JSON, by a glance that costs little beside writing them. */
function jsonBytes(value: unknown, level: number): number {
  if (typeof value === "string") return value.length + 3;
  if (typeof value !== "object" || value === null) return NUMBER_BYTES;
  if (ArrayBuffer.isView(value)) return 3 * value.byteLength;
  if (level === LEVELS_LOOKED_AT) return PIECE_BYTES;
  let bytes = 2;
  if (Array.isArray(value)) for (const item of value) bytes += jsonBytes(item, level + 1);
  else for (const [key, item] of Object.entries(value)) bytes += key.length + 3 + jsonBytes(item, level + 1);
  return bytes;
}

export function toJson(value: unknown): string {
  let exact = true;
  const text = JSON.stringify(value, (_, item: unknown) => {
    if (typeof item === "bigint") {
      if (item >= BigInt(Number.MIN_SAFE_INTEGER) && item <= BigInt(Number.MAX_SAFE_INTEGER)) return Number(item);
      exact = false;
      return null;
    }
    return plain(item);
  });
  if (exact) return text;
  return jsonBig.stringify(value, (_: string, item: unknown) => plain(item));
}

function plain(item: unknown): unknown {
  if (item instanceof Float32Array) return Array.from(item, shortestFloat32);
  if (item instanceof Uint8Array) return Buffer.from(item.buffer, item.byteOffset, item.length).toString("base64");
  if (ArrayBuffer.isView(item)) return Array.from(item as unknown as ArrayLike<number | bigint>);
  return item;
}

/** Powers of ten that a float32 can be multiplied by without rounding: 24 bits and those of 5^12 are 52. */
const POWERS = Array.from({ length: 13 }, (_, power) => 10 ** power);

/** Of 1e-3 to below 1e7: three digits more than 7 stay within POWERS. */
const PLAIN_MIN = 1e-3;
const PLAIN_MAX = 1e7;

/** The shortest decimal that rounds to this float32: 7 digits mostly do, 9 always. */
export function shortestFloat32(x: number): number {
  const size = Math.abs(x);
  // As digits of a text would be found, since the product is exact and a quotient is rounded as a text is read.
  if (size >= PLAIN_MIN && size < PLAIN_MAX) {
    let power = 6;
    if (size < 1) for (power = 7; size * POWERS[power - 6]! < 1; ) power++;
    else while (size >= POWERS[7 - power]!) power--;
    let found = 0;
    for (let more = 0; more < 3; more++) {
      const scale = POWERS[power + more]!;
      found = Math.round(size * scale) / scale;
      if (Math.fround(found) === size) break;
    }
    return x < 0 ? -found : found;
  }
  for (let digits = 7; digits < 9; digits++) {
    const candidate = Number(x.toPrecision(digits));
    if (Math.fround(candidate) === x) return candidate;
  }
  return Number(x.toPrecision(9));
}
