/**
 * The vectors of a segment file without the zeros of rows that have none: the input of an index build. If all rows have a
 * vector, this is the file's own data.
 */
import { type FileHandle, open } from "node:fs/promises";
import { type Bitset, bitsetWords, countBits, fullBitset, hasBit } from "./bitset.ts";
import { type FieldVectors, type FilePart, readFully } from "./find-vectors.ts";

/** Bytes moved at a time, unless a row is larger. */
const BLOCK_BYTES = 1 << 20;

export interface PresentVectors {
  rows: number;
  path: string;
  /** Together row-major. */
  parts: readonly FilePart[];
}

/**
 * @param copyPath written when some rows have a vector and some do not
 * @throws VdbError corrupt
 */
export async function presentVectors(
  path: string,
  { rows, parts, valid }: FieldVectors,
  rowBytes: number,
  copyPath: string,
): Promise<PresentVectors> {
  if (parts.length === 0) return { rows: 0, path, parts };
  if (valid.every((part) => part === null)) return { rows, path, parts };
  await using source = await open(path, "r");
  const present: (Bitset | null)[] = [];
  let count = 0;
  for (const [i, { bytes }] of parts.entries()) {
    const bits = await readBits(source, valid[i]!, bytes / rowBytes);
    present.push(bits);
    count += bits === null ? bytes / rowBytes : countBits(bits);
  }
  if (count === rows || count === 0) return { rows: count, path, parts: count === 0 ? [] : parts };
  await using copy = await open(copyPath, "w");
  for (const [i, part] of parts.entries()) await copyRows(source, part, present[i]!, rowBytes, copy);
  return { rows: count, path: copyPath, parts: [{ offset: 0, bytes: count * rowBytes }] };
}

async function readBits(file: FileHandle, part: FilePart | null, rows: number): Promise<Bitset | null> {
  if (part === null) return null;
  const bits = new Uint32Array(bitsetWords(rows));
  await readFully(file, new Uint8Array(bits.buffer, 0, part.bytes), part.offset);
  const all = fullBitset(rows);
  for (let i = 0; i < bits.length; i++) bits[i] = bits[i]! & all[i]!;
  return bits;
}

/** Appends the rows whose bit is set. */
async function copyRows(
  source: FileHandle,
  part: FilePart,
  present: Bitset | null,
  rowBytes: number,
  target: FileHandle,
): Promise<void> {
  const rows = part.bytes / rowBytes;
  const step = Math.max(1, Math.floor(BLOCK_BYTES / rowBytes));
  const block = new Uint8Array(Math.min(step, rows) * rowBytes);
  for (let start = 0; start < rows; start += step) {
    const end = Math.min(rows, start + step);
    await readFully(source, block.subarray(0, (end - start) * rowBytes), part.offset + start * rowBytes);
    let kept = 0;
    for (let row = start; row < end; row++) {
      if (present !== null && !hasBit(present, row)) continue;
      const at = (row - start) * rowBytes;
      if (at !== kept) block.copyWithin(kept, at, at + rowBytes);
      kept += rowBytes;
    }
    if (kept > 0) await target.writeFile(block.subarray(0, kept));
  }
}
