/** Vectors of a file of little-endian float32 values, row by row without anything between them. */
import { endianness } from "node:os";
import { openFile } from "./open-file.ts";

export interface VectorReader {
  /** Exactly `count` vectors, row-major, in memory of their own. @throws Error when the file ends before */
  take(count: number): Promise<Float32Array>;
  /** Whether everything has been taken. */
  isAtEnd(): Promise<boolean>;
  close(): void;
}

export function readVectors(path: string, dimension: number): VectorReader {
  if (endianness() !== "LE")
    throw new Error("vector files are little-endian, and so must be the machine that reads them");
  const file = openFile(path);
  const chunks = file.chunks[Symbol.asyncIterator]();
  const rowBytes = dimension * Float32Array.BYTES_PER_ELEMENT;
  let rest: Buffer = Buffer.alloc(0);
  let taken = 0;

  /** False at the end of the file. */
  const more = async (): Promise<boolean> => {
    const next = await chunks.next();
    if (next.done !== true) rest = next.value;
    return next.done !== true;
  };
  return {
    close: file.close,
    async take(count) {
      const vectors = new Float32Array(count * dimension);
      const bytes = new Uint8Array(vectors.buffer);
      for (let filled = 0; filled < bytes.length; ) {
        if (rest.length === 0 && !(await more())) throw tooShort(path, taken * rowBytes + filled, rowBytes);
        const part = rest.subarray(0, bytes.length - filled);
        bytes.set(part, filled);
        filled += part.length;
        rest = rest.subarray(part.length);
      }
      taken += count;
      return vectors;
    },
    async isAtEnd() {
      while (rest.length === 0) if (!(await more())) return true;
      return false;
    },
  };
}

function tooShort(path: string, bytes: number, rowBytes: number): Error {
  const whole = Math.floor(bytes / rowBytes);
  return new Error(`${path} ends after ${whole} vectors of ${rowBytes / 4} values: line ${whole + 1} has no vector`);
}

export async function countBytes(path: string): Promise<number> {
  const file = openFile(path);
  let bytes = 0;
  for await (const chunk of file.chunks) bytes += chunk.length;
  return bytes;
}
