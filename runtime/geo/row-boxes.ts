/**
 * The boxes of a column's geometries, read from their text: a row that its box rules out need not be parsed. A point's box is
 * the point itself, so points are never parsed.
 */
import type { BytesColumn } from "../segment/column.ts";
import { endOfNumber, isDigit, readNumber } from "./number.ts";

/** What kind of geometry a text holds. */
export const NO_POINTS = 0;
export const ONE_POINT = 1;
const SEVERAL_POINTS = 2;

const MINUS = 0x2d;
const COMMA = 0x2c;
const CLOSE = 0x29;
const LETTER_I = 0x49;
const LETTER_O = 0x4f;

/** The bytes of a column, with the position at which numbers are read. */
export function bufferOf({ bytes }: BytesColumn): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
}

/**
 * Sets `box` to that of the text in [start, end), which is in the canonical form of columns, and returns what the text holds.
 * Without points the box stays as it was.
 */
export function readBox(bytes: Buffer, start: number, end: number, box: Float64Array): number {
  let at = start;
  // Only "POINT" begins like this.
  const isPoint = bytes[at + 1] === LETTER_O && bytes[at + 2] === LETTER_I;
  let isEmpty = true;
  while (at < end) {
    const byte = bytes[at]!;
    if (byte !== MINUS && !isDigit(byte)) {
      at++;
      continue;
    }
    const x = readNumber(bytes, at);
    const y = readNumber(bytes, endOfNumber() + 1);
    if (isEmpty) {
      box[0] = x;
      box[1] = y;
      box[2] = x;
      box[3] = y;
      isEmpty = false;
    } else {
      if (x < box[0]!) box[0] = x;
      if (y < box[1]!) box[1] = y;
      if (x > box[2]!) box[2] = x;
      if (y > box[3]!) box[3] = y;
    }
    // Z and M are skipped.
    at = endOfNumber();
    while (at < end && bytes[at] !== COMMA && bytes[at] !== CLOSE) at++;
  }
  return isEmpty ? NO_POINTS : isPoint ? ONE_POINT : SEVERAL_POINTS;
}
