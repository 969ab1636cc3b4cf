/** Reads the texts of a column one by one: made once per column, so that a text costs no look at its buffer. */
import type { BytesColumn } from "./column.ts";

/** The text of a row; empty for a null. */
export function textReader({ offsets, bytes }: BytesColumn): (row: number) => string {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return (row) => buffer.toString("utf8", offsets[row]!, offsets[row + 1]!);
}
