/**
 * Columns that grow: appended batch by batch, read as immutable views of what is there. A view stays valid after later appends:
 * they write beyond it, or into a larger copy.
 */
import { type Bitset, bitsetWords, hasBit } from "./bitset.ts";
import { type ArrayColumn, type BytesColumn, type Column, rowWidth, type ScalarColumn } from "./column.ts";
import { takeColumn } from "./gather.ts";

type Values =
  | Int8Array
  | Int16Array
  | Int32Array
  | Float32Array
  | Float64Array
  | Uint8Array
  | Uint32Array
  | BigInt64Array;

/** A typed array that doubles. */
class GrowingArray<T extends Values> {
  data: T;
  length = 0;

  constructor(sample: T, capacity: number) {
    this.data = new (sample.constructor as new (n: number) => T)(capacity);
  }

  reserve(count: number): void {
    const needed = this.length + count;
    if (needed <= this.data.length) return;
    const larger = new (this.data.constructor as new (n: number) => T)(Math.max(needed, this.data.length * 2));
    (larger as { set(source: ArrayLike<unknown>): void }).set(this.view());
    this.data = larger;
  }

  append(source: T): void {
    this.reserve(source.length);
    (this.data as { set(source: ArrayLike<unknown>, at: number): void }).set(source, this.length);
    this.length += source.length;
  }

  appendZeros(count: number): void {
    this.reserve(count);
    const { data, length } = this;
    // Cleared memory still has its old values.
    if (data instanceof BigInt64Array) data.fill(0n, length, length + count);
    else data.fill(0, length, length + count);
    this.length += count;
  }

  view(): T {
    return this.data.subarray(0, this.length) as T;
  }
}

export class ColumnBuilder {
  /** A column of the builder's kind, without rows: one with rows may be a view of a whole request, and would hold it. */
  readonly sample: Column;
  readonly #values: GrowingArray<Values> | undefined;
  readonly #offsets: GrowingArray<Uint32Array> | undefined;
  readonly #items: ColumnBuilder | undefined;
  #valid: Bitset | undefined;
  #rowCount = 0;

  /** A builder of columns of the sample's kind. */
  constructor(sample: Column, capacity: number) {
    this.sample = takeColumn(sample, new Uint32Array(0));
    if ("dimension" in sample) this.#values = new GrowingArray<Values>(sample.values, capacity * rowWidth(sample));
    else if (sample.kind === "array") this.#items = new ColumnBuilder(sample.items, capacity);
    else if ("bytes" in sample) this.#values = new GrowingArray<Values>(sample.bytes, capacity * 8);
    else this.#values = new GrowingArray<Values>(sample.values, capacity);
    if ("offsets" in sample) {
      this.#offsets = new GrowingArray(sample.offsets, capacity + 1);
      this.#offsets.append(new Uint32Array(1));
    }
  }

  /** Appends rows [start, end) of a column of the same kind; undefined appends nulls. */
  append(column: Column | undefined, start: number, end: number): void {
    const count = end - start;
    this.#appendValidity(column, start, count);
    if (column === undefined) this.#appendZeros(count);
    else if ("offsets" in column) this.#appendSlices(column, start, end);
    else {
      const width = "dimension" in column ? rowWidth(column) : 1;
      this.#values!.append((column.values as Values).subarray(start * width, end * width) as Values);
    }
    this.#rowCount += count;
  }

  /** Empties it, keeping the memory: earlier views become invalid. */
  clear(): void {
    this.#rowCount = 0;
    this.#valid = undefined;
    if (this.#values !== undefined) this.#values.length = 0;
    if (this.#offsets !== undefined) this.#offsets.length = 1;
    this.#items?.clear();
  }

  view(): Column {
    const column = this.#viewData();
    if (this.#valid === undefined) return column;
    // A copy: later appends set bits in the word that the last rows of this view share.
    return { ...column, valid: this.#valid.slice(0, bitsetWords(this.#rowCount)) };
  }

  #viewData(): Column {
    const sample = this.sample;
    if ("dimension" in sample) {
      return { kind: sample.kind, dimension: sample.dimension, values: this.#values!.view() } as Column;
    }
    if (sample.kind === "array") {
      return {
        kind: "array",
        offsets: this.#offsets!.view(),
        items: this.#items!.view() as ScalarColumn,
      } satisfies ArrayColumn;
    }
    if ("bytes" in sample) {
      return {
        kind: sample.kind,
        offsets: this.#offsets!.view(),
        bytes: this.#values!.view() as Uint8Array,
      } satisfies BytesColumn;
    }
    return { kind: sample.kind, values: this.#values!.view() } as Column;
  }

  #appendSlices(column: BytesColumn | ArrayColumn, start: number, end: number): void {
    const from = column.offsets[start]!;
    const to = column.offsets[end]!;
    const shift = this.#offsets!.data[this.#rowCount]! - from;
    this.#offsets!.reserve(end - start);
    for (let row = start + 1; row <= end; row++)
      this.#offsets!.data[this.#offsets!.length++] = column.offsets[row]! + shift;
    if (column.kind === "array") this.#items!.append(column.items, from, to);
    else this.#values!.append(column.bytes.subarray(from, to));
  }

  #appendZeros(count: number): void {
    if (this.#offsets !== undefined) {
      this.#offsets.append(new Uint32Array(count).fill(this.#offsets.data[this.#rowCount]!));
      return;
    }
    const values = this.#values!;
    const width = "dimension" in this.sample ? rowWidth(this.sample) : 1;
    values.appendZeros(count * width);
  }

  #appendValidity(column: Column | undefined, start: number, count: number): void {
    const source = column !== undefined && "valid" in column ? column.valid : undefined;
    if (column !== undefined && source === undefined && this.#valid === undefined) return;
    const words = bitsetWords(this.#rowCount + count);
    if (this.#valid === undefined) this.#valid = allValid(this.#rowCount, words);
    else if (this.#valid.length < words) {
      const larger = new Uint32Array(Math.max(words, this.#valid.length * 2));
      larger.set(this.#valid);
      this.#valid = larger;
    }
    const valid = this.#valid;
    for (let i = 0; i < count; i++) {
      const present = column !== undefined && (source === undefined || hasBit(source, start + i));
      const row = this.#rowCount + i;
      if (present) valid[row >>> 5] = valid[row >>> 5]! | (1 << (row & 31));
    }
  }
}

function allValid(rowCount: number, words: number): Bitset {
  const valid = new Uint32Array(words);
  for (let row = 0; row < rowCount; row++) valid[row >>> 5] = valid[row >>> 5]! | (1 << (row & 31));
  return valid;
}
