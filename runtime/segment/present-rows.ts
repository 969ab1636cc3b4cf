/**
 * Rows of a segment that have a vector of a field. An index of the field holds these alone: its row 0 is the first of them,
 * and so on. Here is which is which, and what of a filter over the segment's rows concerns the index.
 */
import { type FieldSchema, isVectorType } from "../schema.ts";
import { type Bitset, bitsetWords, fullBitset } from "./bitset.ts";
import type { Column, ColumnBatch, DenseVectorColumn, VectorColumn } from "./column.ts";
import type { Chunk } from "./segment.ts";

/** Rows that one word of a bitset takes. */
const WORD_ROWS = 32;

export class PresentRows {
  /** By row of the index, the segment's. */
  #rows = new Int32Array(WORD_ROWS);
  /** By row of the segment. */
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

  /** Whether each of them is present: then a row of the index is the segment's of that number. */
  get isAll(): boolean {
    return this.#count === this.#end;
  }

  /**
   * The segment's next rows.
   * @param present null: all of them. What has been added before must be whole words
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

  /** The segment's row of a row of the index. */
  rowAt(indexRow: number): number {
    return this.#rows[indexRow]!;
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
   * What a bitset over the segment's rows says of the index's: one of `count` rows, those below `end` (a whole number of
   * words, or all). 100,000 rows take some tens of microseconds.
   */
  narrowed(bits: Bitset, end = this.#end): { bits: Bitset; count: number } {
    const narrow = new Uint32Array(bitsetWords(this.#count) + 1);
    let at = 0;
    let count = 0;
    for (let i = 0; i < bitsetWords(end); i++) {
      const here = this.#bits[i]!;
      if (here === 0) continue;
      const both = here & (bits[i] ?? 0);
      const size = ones(here);
      // As if the present rows' bits were pushed together.
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
      count += ones(both);
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

/** Which rows of a chunk have a vector of the field; null: all. */
export function presentInChunk({ batch }: Pick<Chunk, "batch">, fieldId: number): Bitset | null {
  const column = batch.columns[fieldId] as DenseVectorColumn | undefined;
  if (column === undefined) return new Uint32Array(bitsetWords(batch.rowCount));
  return column.valid ?? null;
}

/** Undefined where all rows of the chunks have a vector of the field. */
export function presentRows(chunks: readonly Chunk[], fieldId: number): PresentRows | undefined {
  if (chunks.every((chunk) => presentInChunk(chunk, fieldId) === null)) return undefined;
  const present = new PresentRows();
  for (const chunk of chunks) present.add(chunk.batch.rowCount, presentInChunk(chunk, fieldId));
  return present.isAll ? undefined : present;
}

/** The batch without the columns of vectors that none of its rows has: absent, they are null as well, and take nothing. */
export function withoutNullVectors(batch: ColumnBatch): ColumnBatch {
  let columns: Record<number, Column> | undefined;
  for (const [fieldId, column] of Object.entries(batch.columns)) {
    if (column.valid === undefined || !isVectorColumn(column) || column.valid.some((word) => word !== 0)) continue;
    columns ??= { ...batch.columns };
    delete columns[Number(fieldId)];
  }
  return columns === undefined ? batch : { ...batch, columns };
}

/** What a file of these chunks is to have: all fields, but vectors that none of them has a column of. */
export function fieldsToStore<F extends Pick<FieldSchema, "fieldId" | "type">>(
  fields: readonly F[],
  chunks: readonly Pick<Chunk, "batch">[],
): F[] {
  return fields.filter(
    ({ fieldId, type }) => !isVectorType(type) || chunks.some(({ batch }) => batch.columns[fieldId] !== undefined),
  );
}

function isVectorColumn(column: Column): column is VectorColumn {
  return "dimension" in column || column.kind === "sparseVector";
}

function ones(word: number): number {
  let x = word - ((word >>> 1) & 0x55555555);
  x = (x & 0x33333333) + ((x >>> 2) & 0x33333333);
  x = (x + (x >>> 4)) & 0x0f0f0f0f;
  return Math.imul(x, 0x01010101) >>> 24;
}
