/**
 * The values at one path of a chunk's JSON column, each with the rows that hold it: the documents are read once, not once per
 * filter. For arrays at the path the elements are kept with their rows; for other containers only that they exist.
 */
import { type JsonNode, listKey, parseDocument, readPath, testValue } from "../expr/json-rows.ts";
import type { ContainsNode, JsonOperand } from "../expr/plan-node.ts";
import { nullRows } from "../expr/row-view.ts";
import { complement, type Truth } from "../expr/truth.ts";
import { type Bitset, newBitset, setBit } from "../segment/bitset.ts";
import type { BytesColumn } from "../segment/column.ts";
import { newPostings, type Postings } from "./chunk-index.ts";

type Primitive = number | bigint | string | boolean;

const NONE = 0xffff;

/** Most elements of a chunk's arrays: more are not worth the memory. */
const ELEMENTS_MAX = 65_536;

export interface PathIndex extends Postings {
  readonly kind: "path";
  readonly values: readonly Primitive[];
  /** Value (integers beyond 2^53 as bigints) to its position in `values`. */
  readonly places: ReadonlyMap<unknown, number>;
  /** Rows whose column is null: there is no document. */
  readonly nulls: Bitset | undefined;
  readonly hasContainers: boolean;
  /** Rows by the class of their value. */
  readonly classes: Readonly<Record<"number" | "string" | "boolean", Bitset>>;
  /** Rows with an array. */
  readonly arrays: Bitset;
  /** Element (not a container) to the rows whose array has it; null: there are too many. */
  readonly elements: ReadonlyMap<unknown, Uint16Array> | null;
  readonly bytes: number;
}

/** Reads documents piece by piece: parsing a chunk of them takes too long for one turn. */
export class PathIndexBuilder {
  readonly #column: BytesColumn;
  readonly #buffer: Buffer;
  readonly #operand: JsonOperand;
  readonly #codes: Uint16Array;
  readonly #nulls: Bitset | undefined;
  readonly #values: Primitive[] = [];
  readonly #places = new Map<unknown, number>();
  readonly #arrays: Bitset;
  readonly #elements = new Map<unknown, number[]>();
  #elementCount = 0;
  #hasContainers = false;
  #textBytes = 0;
  /** Rows read so far. */
  rowCount = 0;

  constructor(column: BytesColumn, rowCount: number, operand: JsonOperand) {
    this.#column = column;
    this.#buffer = Buffer.from(column.bytes.buffer, column.bytes.byteOffset, column.bytes.length);
    this.#operand = operand;
    this.#codes = new Uint16Array(rowCount).fill(NONE);
    this.#nulls = nullRows(column, rowCount);
    this.#arrays = newBitset(rowCount);
  }

  /** @throws VdbError corrupt when a row's text is not JSON */
  read(end: number): void {
    const { offsets } = this.#column;
    for (; this.rowCount < Math.min(end, this.#codes.length); this.rowCount++) {
      const row = this.rowCount;
      if (this.#nulls !== undefined && ((this.#nulls[row >>> 5]! >>> (row & 31)) & 1) === 1) continue;
      const document = parseDocument(this.#buffer.toString("utf8", offsets[row]!, offsets[row + 1]!));
      const value = readPath(document, this.#operand);
      if (value === null || value === undefined) continue;
      if (Array.isArray(value)) this.#addElements(row, value);
      if (typeof value === "object") this.#hasContainers = true;
      else this.#codes[row] = this.#placeOf(value as Primitive);
    }
  }

  finish(): PathIndex {
    const rowOf = Uint16Array.from(this.#codes.keys());
    const missing = newBitset(this.#codes.length);
    this.#codes.forEach((code, row) => {
      if (code === NONE) setBit(missing, row);
    });
    const postings = newPostings(this.#codes, this.#values.length, rowOf, missing);
    const [number, string, boolean] = [newBitset(rowOf.length), newBitset(rowOf.length), newBitset(rowOf.length)];
    const classes = { number, string, boolean };
    this.#values.forEach((value, place) => {
      addRows(postings, place, classes[classOf(value)]);
    });
    const isComplete = this.#elementCount <= ELEMENTS_MAX;
    const elements = isComplete
      ? new Map([...this.#elements].map(([key, rows]) => [key, Uint16Array.from(rows)]))
      : null;
    const { rows, starts } = postings;
    const bytes =
      rows.byteLength +
      starts.byteLength +
      4 * number.byteLength +
      (this.#values.length + 2 * this.#elements.size) * 48 +
      2 * (isComplete ? this.#elementCount : 0) +
      this.#textBytes;
    return {
      kind: "path",
      values: this.#values,
      places: this.#places,
      nulls: this.#nulls,
      hasContainers: this.#hasContainers,
      classes,
      arrays: this.#arrays,
      elements,
      bytes,
      ...postings,
    };
  }

  #addElements(row: number, array: unknown[]): void {
    setBit(this.#arrays, row);
    this.#elementCount += array.length;
    if (this.#elementCount > ELEMENTS_MAX) return;
    for (const element of array) {
      if (element === null || typeof element === "object") continue;
      const key = listKey(element);
      const rows = this.#elements.get(key);
      if (rows === undefined) {
        this.#elements.set(key, [row]);
        if (typeof key === "string") this.#textBytes += 2 * key.length;
      } else if (rows.at(-1) !== row) rows.push(row);
    }
  }

  #placeOf(value: Primitive): number {
    const key = listKey(value);
    let place = this.#places.get(key);
    if (place === undefined) {
      place = this.#values.push(value) - 1;
      this.#places.set(key, place);
      if (typeof value === "string") this.#textBytes += 2 * value.length;
    }
    return place;
  }
}

/** Undefined if the documents must be read after all. */
export function testPath(index: PathIndex, node: JsonNode, operand: JsonOperand, rowCount: number): Truth | undefined {
  if (node.op === "contains") return testElements(index, node, rowCount);
  if (node.op === "exists") {
    if (index.hasContainers) return undefined;
    const isTrue = newBitset(rowCount);
    for (const row of index.rows) setBit(isTrue, row);
    return { isTrue, unknown: node.isNullTest || operand.isDynamic ? undefined : index.nulls };
  }
  return testKeys(index, node, rowCount) ?? testValues(index, node, rowCount);
}

function testElements({ arrays, elements }: PathIndex, node: ContainsNode, rowCount: number): Truth | undefined {
  if (elements === null || node.values.some(Array.isArray)) return undefined;
  const isAll = node.mode === "all";
  const isTrue = isAll ? arrays.slice() : newBitset(rowCount);
  for (const value of node.values) {
    const found = newBitset(rowCount);
    for (const row of elements.get(listKey(value)) ?? []) setBit(found, row);
    for (let w = 0; w < isTrue.length; w++) isTrue[w] = isAll ? isTrue[w]! & found[w]! : isTrue[w]! | found[w]!;
  }
  return { isTrue, unknown: complement(arrays, rowCount) };
}

/** ==, != and IN need not look at other values: the class of each row's value is known. */
function testKeys(index: PathIndex, node: JsonNode, rowCount: number): Truth | undefined {
  const keys = keysOf(node);
  if (keys === undefined) return undefined;
  const isTrue = newBitset(rowCount);
  const known = newBitset(rowCount);
  for (const key of keys) {
    const ofClass = index.classes[classOf(key as Primitive)];
    for (let w = 0; w < known.length; w++) known[w] = known[w]! | ofClass[w]!;
    const place = index.places.get(listKey(key));
    if (place !== undefined) addRows(index, place, isTrue);
  }
  const isNegated = node.op === "compare" && node.comparison === "!=";
  if (isNegated) for (let w = 0; w < isTrue.length; w++) isTrue[w] = known[w]! & ~isTrue[w]!;
  return { isTrue, unknown: complement(known, rowCount) };
}

function keysOf(node: JsonNode): readonly unknown[] | undefined {
  if (node.op === "in") return node.values;
  if (node.op !== "compare" || node.arithmetic !== undefined) return undefined;
  return node.comparison === "==" || node.comparison === "!=" ? [node.value] : undefined;
}

function testValues(index: PathIndex, node: JsonNode, rowCount: number): Truth {
  const isTrue = newBitset(rowCount);
  const known = newBitset(rowCount);
  index.values.forEach((value, place) => {
    const verdict = testValue(node, value);
    if (verdict === undefined) return;
    addRows(index, place, known);
    if (verdict) addRows(index, place, isTrue);
  });
  return { isTrue, unknown: complement(known, rowCount) };
}

function addRows({ starts, rows }: Postings, place: number, into: Bitset): void {
  for (let i = starts[place]!; i < starts[place + 1]!; i++) setBit(into, rows[i]!);
}

function classOf(value: Primitive): keyof PathIndex["classes"] {
  if (typeof value === "string") return "string";
  return typeof value === "boolean" ? "boolean" : "number";
}
