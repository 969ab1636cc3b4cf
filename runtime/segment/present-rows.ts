/**
 * The rows of a segment that have a vector in a field. An index of the field holds only these: its row 0 is the first of them,
 * and so on. Maps between the two numberings, and from a filter over the segment's rows to one over the index's.
 */
import { type FieldSchema, isVectorType } from "../schema.ts";
import { type Bitset, bitsetWords, bitsOfWord, fullBitset } from "./bitset.ts";
import type { Column, ColumnBatch, DenseVectorColumn, VectorColumn } from "./column.ts";
import type { Chunk } from "./segment.ts";

/** Rows that one word of a bitset takes. */
const WORD_ROWS = 32;

export class PresentRows {
  /** For each row of the index: the segment's row. */
  #rows = new Int32Array(WORD_ROWS);
  /** For each row of the segment: whether it has a vector. */
  #bits = new Uint32Array(1);
  #count = 0;
  #end = 0;

  /** Rows of the index. */
  get count(): number {
    return this.#count;
  }

  /** Rows of the segment that have been added. */
  get end(): number {
    return this.#end;
  }

  get memoryBytes(): number {
    return this.#rows.byteLength + this.#bits.byteLength;
  }

  /** Whether all are present: then rows of the index have the same numbers in the segment. */
  get isAll(): boolean {
    return this.#count === this.#end;
  }

  /**
   * The segment's next rows.
   * @param present null: all of them. Earlier additions must be whole words
   */
  add(rowCount: number, present: Bitset | null): void {
    const bits = present ?? fullBitset(rowCount);
    const first = this.#end;
    this.#reserve(first + rowCount);
    this.#bits.set(bits.subarray(0, bitsetWords(rowCount)), first >>> 5);
    for (let i = 0; i < bits.length; i++) {
      for (let word = bits[i]!; word !== 0; word &= word - 1) {
        this.#rows[this.#count++] = first + (i << 5) + (31 - Math.clz32(word & -word));
      }
    }
    this.#end += rowCount;
  }

  /** The segment's row for a row of the index. */
  rowAt(indexRow: number): number {
    return this.#rows[indexRow]!;
  }

  /** Replaces rows of the index by the segment's, in place; -1 stays. */
  toSegmentRows(rows: Int32Array): void {
    for (let i = 0; i < rows.length; i++) if (rows[i]! >= 0) rows[i] = this.rowAt(rows[i]!);
  }

  /** How many of the segment's rows below `row` are present. */
  countBelow(row: number): number {
    let low = 0;
    let high = this.#count;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#rows[middle]! < row) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /**
   * Converts a bitset over the segment's rows to one over the index's `count` rows, those below `end` (a whole number of words,
   * or all). 100,000 rows take some tens of microseconds.
   */
  narrowed(bits: Bitset, end = this.#end): { bits: Bitset; count: number } {
    const narrow = new Uint32Array(bitsetWords(this.#count) + 1);
    let at = 0;
    let count = 0;
    for (let i = 0; i < bitsetWords(end); i++) {
      const here = this.#bits[i]!;
      if (here === 0) continue;
      const both = here & (bits[i] ?? 0);
      const size = bitsOfWord(here);
      // The bits of the present rows, packed together.
      let pushed = 0;
      if (both === here) pushed = size === WORD_ROWS ? -1 : (1 << size) - 1;
      else if (both !== 0) {
        for (let word = here, to = 0; word !== 0; word &= word - 1, to++) {
          if ((both & word & -word) !== 0) pushed |= 1 << to;
        }
      }
      const shift = at & 31;
      narrow[at >>> 5] = narrow[at >>> 5]! | (pushed << shift);
      if (shift > 0) narrow[(at >>> 5) + 1] = pushed >>> (WORD_ROWS - shift);
      at += size;
      count += bitsOfWord(both);
    }
    return { bits: narrow.subarray(0, bitsetWords(at)), count };
  }

  #reserve(rows: number): void {
    if (rows > this.#rows.length) {
      const larger = new Int32Array(Math.max(rows, this.#rows.length * 2));
      larger.set(this.#rows.subarray(0, this.#count));
      this.#rows = larger;
    }
    if (bitsetWords(rows) > this.#bits.length) {
      const larger = new Uint32Array(Math.max(bitsetWords(rows), this.#bits.length * 2));
      larger.set(this.#bits);
      this.#bits = larger;
    }
  }
}

/** The rows of a chunk that have a vector in the field; null: all. */
export function presentInChunk({ batch }: Pick<Chunk, "batch">, fieldId: number): Bitset | null {
  const column = batch.columns[fieldId] as DenseVectorColumn | undefined;
  if (column === undefined) return new Uint32Array(bitsetWords(batch.rowCount));
  return column.valid ?? null;
}

/** Undefined if all rows of the chunks have a vector in the field. */
export function presentRows(chunks: readonly Chunk[], fieldId: number): PresentRows | undefined {
  if (chunks.every((chunk) => presentInChunk(chunk, fieldId) === null)) return undefined;
  const present = new PresentRows();
  for (const chunk of chunks) present.add(chunk.batch.rowCount, presentInChunk(chunk, fieldId));
  return present.isAll ? undefined : present;
}

/** The batch without vector columns in which no row has a value: an absent column is null as well, and takes no memory. */
export function withoutNullVectors(batch: ColumnBatch): ColumnBatch {
  let columns: Record<number, Column> | undefined;
  for (const [fieldId, column] of Object.entries(batch.columns)) {
    if (column.valid === undefined || !isVectorColumn(column) || column.valid.some((word) => word !== 0)) continue;
    columns ??= { ...batch.columns };
    delete columns[Number(fieldId)];
  }
  return columns === undefined ? batch : { ...batch, columns };
}

/** Whether a row lacks a dense vector. */
export function hasNullVectors({ columns }: ColumnBatch): boolean {
  return Object.values(columns).some((column) => "dimension" in column && column.valid !== undefined);
}

type Named = Pick<FieldSchema, "fieldId" | "type">;

/** Vector fields in which some row of the chunks has a vector. */
export function vectorFieldsOf(fields: readonly Named[], chunks: Iterable<Pick<Chunk, "batch">>): number[] {
  const seen = new VectorFields(fields);
  for (const { batch } of chunks) seen.add(batch);
  return seen.result();
}

/** The same, chunk by chunk. */
export class VectorFields {
  readonly #unseen: Set<number>;
  readonly #all: readonly number[];

  constructor(fields: readonly Named[]) {
    this.#all = fields.filter(({ type }) => isVectorType(type)).map(({ fieldId }) => fieldId);
    this.#unseen = new Set(this.#all);
  }

  add({ columns }: ColumnBatch): void {
    for (const fieldId of this.#unseen) {
      const column = columns[fieldId];
      if (column !== undefined && (column.valid === undefined || column.valid.some((word) => word !== 0)))
        this.#unseen.delete(fieldId);
    }
  }

  result(): number[] {
    return this.#all.filter((fieldId) => !this.#unseen.has(fieldId));
  }
}

function isVectorColumn(column: Column): column is VectorColumn {
  return "dimension" in column || column.kind === "sparseVector";
}
