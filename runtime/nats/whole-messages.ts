/**
 * Cuts the incoming bytes of a NATS connection so that a large message is a frame of its own. The npm client's parser
 * hands on a message that lies whole in one frame, but copies any other several times over. The socket writes a large
 * message's bytes to where they will stay: shared memory, from runtime/shared-buffers.ts.
 *
 * Invariant: the frames together are the bytes received, except those of an incomplete frame or line.
 */
import { takeBuffer } from "../shared-buffers.ts";

/** Messages of this many bytes or more are worth it. Other reads are of this size, so no such message fits in. */
export const LARGE_BYTES = 1 << 16;
/** After a large message another one usually follows: this many bytes hold its line; content among them is copied. */
const LINE_BYTES = 4 << 10;
const [LF, UPPER_H, UPPER_M, SPACE] = [10, 72, 77, 32];
const CRLF_BYTES = 2;

export interface WholeMessages {
  /** Where the next bytes go; the same until some have come. */
  target(): Uint8Array;
  /** This many bytes have arrived there. */
  arrived(count: number): void;
}

export function createWholeMessages(deliver: (frame: Uint8Array) => void): WholeMessages {
  const scratch = new Uint8Array(LARGE_BYTES);
  /** Bytes of an incomplete message line at the beginning of scratch. */
  let held = 0;
  /** Bytes to come that belong to a small message. */
  let skipped = 0;
  let isInLine = false;
  let wasLarge = false;
  let large: { frame: Uint8Array; filled: number } | null = null;

  const pass = (from: number, to: number): void => {
    // The parser's messages are views of what it is given.
    if (to > from) deliver(scratch.slice(from, to));
  };

  function scan(end: number): void {
    let from = 0;
    let at = 0;
    while (at < end) {
      if (skipped > 0) {
        const count = Math.min(skipped, end - at);
        skipped -= count;
        at += count;
        continue;
      }
      const lineEnd = scratch.subarray(0, end).indexOf(LF, at);
      const isMessage = !isInLine && (scratch[at] === UPPER_M || scratch[at] === UPPER_H);
      if (!isMessage || (lineEnd < 0 && end - at === scratch.length)) {
        isInLine = lineEnd < 0;
        at = isInLine ? end : lineEnd + 1;
        continue;
      }
      if (lineEnd < 0) {
        pass(from, at);
        scratch.copyWithin(0, at, end);
        held = end - at;
        return;
      }
      const bytes = lastNumber(scratch, lineEnd);
      if (bytes < LARGE_BYTES) {
        at = lineEnd + 1;
        skipped = bytes + CRLF_BYTES;
        continue;
      }
      pass(from, at);
      const frame = takeBuffer(lineEnd + 1 - at + bytes + CRLF_BYTES);
      frame.set(scratch.subarray(at, end));
      large = { frame, filled: end - at };
      from = at = end;
    }
    pass(from, end);
  }

  return {
    target: () => {
      if (large !== null) return large.frame.subarray(large.filled);
      return scratch.subarray(held, wasLarge && held === 0 ? LINE_BYTES : scratch.length);
    },
    arrived: (count) => {
      wasLarge = large !== null;
      if (large === null) {
        const end = held + count;
        held = 0;
        scan(end);
        return;
      }
      large.filled += count;
      if (large.filled < large.frame.length) return;
      const { frame } = large;
      large = null;
      deliver(frame);
    },
  };
}

/** The number that a message's line ends with: how many bytes follow the line. */
function lastNumber(bytes: Uint8Array, lineEnd: number): number {
  let value = 0;
  // Before LF there is CR.
  const start = bytes.lastIndexOf(SPACE, lineEnd) + 1;
  for (let at = start; at < lineEnd - 1; at++) value = value * 10 + (bytes[at]! - 48);
  return value;
}
