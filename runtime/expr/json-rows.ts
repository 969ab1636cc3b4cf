/**
 * JSON values row by row. A row's text is parsed once per evaluation, and only if some clause still needs the row.
 *
 * Types are taken as they are: a value of another type than the constant's makes the row unknown, never an error.
 * Integers beyond 2^53 are kept exact (as bigints), because dynamic keys often hold ids.
 */
import { VdbError } from "../errors.ts";
import { type Bitset, newBitset } from "../segment/bitset.ts";
import type { BytesColumn } from "../segment/column.ts";
import { calculateBig, calculateDouble } from "./arithmetic.ts";
import { compileOnce } from "./compile-once.ts";
import { likeText, patternOf } from "./like.ts";
import { isInt64 } from "./literal.ts";
import type {
  Arithmetic,
  CompareNode,
  Comparison,
  ContainsNode,
  ExistsNode,
  InNode,
  JsonConstant,
  JsonOperand,
  LikeNode,
} from "./plan-node.ts";
import type { Truth } from "./truth.ts";

export type JsonNode = CompareNode | InNode | LikeNode | ExistsNode | ContainsNode;

/** The parsed rows of one column, filled on demand. */
export interface Documents {
  column: BytesColumn;
  buffer: Buffer;
  values: unknown[];
}

export function newDocuments(column: BytesColumn, rowCount: number): Documents {
  const { buffer, byteOffset, length } = column.bytes;
  return { column, buffer: Buffer.from(buffer, byteOffset, length), values: new Array(rowCount).fill(undefined) };
}

/** @param candidates rows to test, none of them null @throws VdbError corrupt when a row's text is not JSON */
export function testJson(node: JsonNode, operand: JsonOperand, documents: Documents, candidates: Bitset): Truth {
  const isTrue = new Uint32Array(candidates.length);
  const unknown = new Uint32Array(candidates.length);
  for (let w = 0; w < candidates.length; w++) {
    for (let open = candidates[w]!; open !== 0; open &= open - 1) {
      const bit = open & -open;
      const row = (w << 5) + 31 - Math.clz32(bit);
      const verdict = testValue(node, readPath(documentAt(documents, row), operand));
      if (verdict === undefined) unknown[w] = unknown[w]! | bit;
      else if (verdict) isTrue[w] = isTrue[w]! | bit;
    }
  }
  return { isTrue, unknown };
}

function documentAt(documents: Documents, row: number): unknown {
  const known = documents.values[row];
  if (known !== undefined) return known;
  const { offsets } = documents.column;
  const value = parseDocument(documents.buffer.toString("utf8", offsets[row]!, offsets[row + 1]!));
  documents.values[row] = value;
  return value;
}

const LONG_NUMBER = /\d{16}/;
const STRING_OR_NUMBER = /"(?:[^"\\]|\\.)*"|-?\d[\d.eE+-]*/g;
const EXACT_MARK = "\0";

/** The JSON value of a stored text, integers of 64 bits exact. @throws VdbError corrupt */
export function parseDocument(text: string): unknown {
  try {
    if (!LONG_NUMBER.test(text)) return JSON.parse(text);
    // Long integers pass JSON.parse as marked strings.
    const marked = text.replace(STRING_OR_NUMBER, (word) => (isLongInteger(word) ? `"\\u0000${word}"` : word));
    return JSON.parse(marked, (_key, value: unknown) => unmark(value));
  } catch (error) {
    throw new VdbError("corrupt", "a stored row is not json", { cause: error });
  }
}

function isLongInteger(word: string): boolean {
  return /^-?\d{16,}$/.test(word) && !Number.isSafeInteger(Number(word)) && isInt64(BigInt(word));
}

function unmark(value: unknown): unknown {
  if (typeof value !== "string" || !value.startsWith(EXACT_MARK) || !/^-?\d{16,}$/.test(value.slice(1))) return value;
  return BigInt(value.slice(1));
}

/** The value at the operand's path, or the length of the array there; undefined when there is none. */
export function readPath(document: unknown, operand: JsonOperand): unknown {
  const value = valueAtPath(document, operand.path);
  if (operand.isLength !== true) return value;
  return Array.isArray(value) ? value.length : undefined;
}

/** Undefined when nothing is there. Numbers are positions in arrays, texts are keys of objects. */
export function valueAtPath(document: unknown, path: readonly (string | number)[]): unknown {
  let value = document;
  for (const part of path) {
    if (typeof value !== "object" || value === null) return undefined;
    if (Array.isArray(value)) {
      value = typeof part === "number" ? value[part] : undefined;
    } else {
      value = Object.hasOwn(value, part) ? (value as Record<string, unknown>)[part] : undefined;
    }
  }
  return value;
}

/** The result of a test for one value; undefined: unknown. */
export function testValue(node: JsonNode, value: unknown): boolean | undefined {
  switch (node.op) {
    case "compare":
      return compareJson(value, node);
    case "in":
      return isAmong(jsonList(node), value);
    case "like":
      return typeof value === "string" ? likeText(patternOf(node), value) : undefined;
    case "exists":
      return holdsSomething(value);
    case "contains":
      return Array.isArray(value) ? containsJson(value, node) : undefined;
  }
}

function compareJson(found: unknown, node: CompareNode): boolean | undefined {
  const { arithmetic, comparison, value: constant } = node;
  const value = arithmetic === undefined ? found : calculateJson(found, arithmetic);
  if (isNumeric(value) && isNumeric(constant)) return compareOrdered(value, comparison, constant);
  if (Array.isArray(value) && Array.isArray(constant)) return equalJson(value, constant) === (comparison === "==");
  if (typeof value === "boolean" && typeof constant === "boolean")
    return (value === constant) === (comparison === "==");
  if (typeof value !== "string" || typeof constant !== "string") return undefined;
  if (comparison === "==" || comparison === "!=") return (value === constant) === (comparison === "==");
  // UTF-16 order is not code point order beyond the basic plane; bytes of UTF-8 are.
  return compareOrdered(Buffer.compare(Buffer.from(value), Buffer.from(constant)), comparison, 0);
}

function isNumeric(value: unknown): value is number | bigint {
  return typeof value === "number" || typeof value === "bigint";
}

/** Exact, also between a number and a bigint. */
function compareOrdered(a: number | bigint, comparison: Comparison, b: number | bigint): boolean {
  switch (comparison) {
    case "==":
      return !(a < b) && !(a > b);
    case "!=":
      return a < b || a > b;
    case "<":
      return a < b;
    case "<=":
      return a <= b;
    case ">":
      return a > b;
    case ">=":
      return a >= b;
  }
}

function calculateJson(found: unknown, { operator, value: given }: Arithmetic): number | bigint | undefined {
  if (!isNumeric(found)) return undefined;
  const value = Number(found);
  const constant = Number(given);
  if (operator === "%" && !Number.isInteger(value)) return undefined;
  const result = calculateDouble(value, operator, constant);
  const isWhole = operator !== "/" && isExactInteger(found) && isExactInteger(given) && constant !== 0;
  const isRounded = [value, constant, result].some((each) => !Number.isSafeInteger(each));
  return isWhole && isRounded ? calculateBig(BigInt(found), operator, BigInt(given)) : result;
}

function isExactInteger(value: number | bigint): boolean {
  return typeof value === "bigint" || Number.isSafeInteger(value);
}

interface JsonList {
  values: Set<unknown>;
  types: Set<string>;
}

const jsonList = compileOnce((node: InNode): JsonList => {
  const values = new Set<unknown>(node.values.map(listKey));
  return { values, types: new Set(node.values.map(listType)) };
});

/** One form for each value: integers beyond 2^53 are bigints, also if they came as doubles. */
export function listKey(value: unknown): unknown {
  return typeof value === "number" && Number.isInteger(value) && !Number.isSafeInteger(value) ? BigInt(value) : value;
}

function listType(value: unknown): string {
  return typeof value === "bigint" ? "number" : typeof value;
}

function isAmong(list: JsonList, value: unknown): boolean | undefined {
  return list.types.has(listType(value)) ? list.values.has(listKey(value)) : undefined;
}

/** Whether there is a value other than null and empty containers. Not recursive: stored rows may be nested to any depth. */
function holdsSomething(value: unknown): boolean {
  const open: unknown[] = [value];
  while (open.length > 0) {
    const next = open.pop();
    if (next === null || next === undefined) continue;
    if (typeof next !== "object") return true;
    for (const inner of Object.values(next)) open.push(inner);
  }
  return false;
}

/** The values of a condition: single ones numbered from 0, each once; arrays are compared one by one. */
interface WantedJson {
  numbers: Map<unknown, number>;
  arrays: JsonConstant[];
  /** By number of a value: the last list seen to hold it; lists are counted from 1. */
  seen: Float64Array;
  lists: number;
}

const wantedJson = compileOnce((node: ContainsNode): WantedJson => {
  const numbers = new Map<unknown, number>();
  for (const value of node.values) {
    if (!Array.isArray(value) && !numbers.has(listKey(value))) numbers.set(listKey(value), numbers.size);
  }
  return { numbers, arrays: node.values.filter(Array.isArray), seen: new Float64Array(numbers.size), lists: 0 };
});

function containsJson(items: unknown[], node: ContainsNode): boolean {
  const wanted = wantedJson(node);
  const { numbers, arrays, seen } = wanted;
  const isHeld = (constant: JsonConstant) => items.some((item) => equalJson(item, constant));
  if (node.mode === "any") return items.some((item) => numbers.has(listKey(item))) || arrays.some(isHeld);
  const list = ++wanted.lists;
  let missing = numbers.size;
  for (let i = 0; missing > 0 && items.length - i >= missing; i++) {
    const number = numbers.get(listKey(items[i]));
    if (number === undefined || seen[number] === list) continue;
    seen[number] = list;
    missing--;
  }
  return missing === 0 && arrays.every(isHeld);
}

/** Recursion is as deep as the constant, which the parser bounds. */
function equalJson(value: unknown, constant: JsonConstant): boolean {
  if (Array.isArray(constant)) {
    return (
      Array.isArray(value) &&
      value.length === constant.length &&
      constant.every((item, i) => equalJson((value as unknown[])[i], item))
    );
  }
  if (isNumeric(value) && isNumeric(constant)) return compareOrdered(value, "==", constant);
  return value === constant;
}

/** The result of a test for rows without any JSON. */
export function testMissing(node: JsonNode, operand: JsonOperand, rows: Bitset, rowCount: number): Truth {
  const isKnown = node.op === "exists" && (node.isNullTest || operand.isDynamic);
  return { isTrue: newBitset(rowCount), unknown: isKnown ? undefined : rows };
}
