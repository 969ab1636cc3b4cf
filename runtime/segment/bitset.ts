/**
 * Bitsets over the rows of one chunk: 32 rows a word, row r is bit (r & 31) of word (r >> 5).
 *
 * Every producer keeps the bits at and above the row count zero; `maskTail` does so after a NOT.
 */
export type Bitset = Uint32Array;

export function bitsetWords(rowCount: number): number {
  return (rowCount + 31) >>> 5;
}

export function newBitset(rowCount: number): Bitset {
  return new Uint32Array(bitsetWords(rowCount));
}

export function fullBitset(rowCount: number): Bitset {
  const bits = newBitset(rowCount).fill(0xffffffff);
  maskTail(bits, rowCount);
  return bits;
}

/** Clears the bits at and above rowCount. */
export function maskTail(bits: Bitset, rowCount: number): void {
  const word = rowCount >>> 5;
  if (word < bits.length) bits[word] = bits[word]! & ((1 << (rowCount & 31)) - 1);
  for (let i = word + 1; i < bits.length; i++) bits[i] = 0;
}

export function hasBit(bits: Bitset, row: number): boolean {
  return ((bits[row >>> 5]! >>> (row & 31)) & 1) === 1;
}

export function setBit(bits: Bitset, row: number): void {
  bits[row >>> 5] = bits[row >>> 5]! | (1 << (row & 31));
}

export function clearBit(bits: Bitset, row: number): void {
  bits[row >>> 5] = bits[row >>> 5]! & ~(1 << (row & 31));
}

/** Number of set bits. */
export function countBits(bits: Bitset): number {
  let count = 0;
  for (let i = 0; i < bits.length; i++) if (bits[i] !== 0) count += bitsOfWord(bits[i]!);
  return count;
}

/** Set bits of a word (Hamming weight by parallel sums, Hacker's Delight 5-1). */
export function bitsOfWord(word: number): number {
  let x = word - ((word >>> 1) & 0x55555555);
  x = (x & 0x33333333) + ((x >>> 2) & 0x33333333);
  x = (x + (x >>> 4)) & 0x0f0f0f0f;
  return Math.imul(x, 0x01010101) >>> 24;
}

/** Rows whose bit is set, ascending. */
export function bitsetRows(bits: Bitset): Uint32Array {
  const rows = new Uint32Array(countBits(bits));
  let n = 0;
  for (let i = 0; i < bits.length; i++) {
    let word = bits[i]!;
    while (word !== 0) {
      rows[n++] = (i << 5) + (31 - Math.clz32(word & -word));
      word &= word - 1;
    }
  }
  return rows;
}
