/** The content of an object to be stored: bytes from pieces of any size or from a file, taken buffer by buffer. */
import { open } from "node:fs/promises";
import { releaseBuffer, takeBuffer } from "../shared-buffers.ts";
import { type Digest, startDigest } from "./digest.ts";
import { InFlight } from "./in-flight.ts";

export type Content = AsyncIterable<Uint8Array> | Iterable<Uint8Array>;

/** Copies what comes next into a buffer and says how much: less than fits only at the end. */
export type Fill = (target: Uint8Array) => Promise<number>;

export interface ContentFacts {
  size: number;
  /** Buffers it took. */
  chunks: number;
  digest: string;
}

/** Runs `use` with the pieces' bytes; what produces the pieces is told when they are not wanted any more. */
export async function withPieces<T>(content: Content, use: (fill: Fill) => Promise<T>): Promise<T> {
  const iterator = Symbol.asyncIterator in content ? content[Symbol.asyncIterator]() : content[Symbol.iterator]();
  let rest: Uint8Array = new Uint8Array(0);
  let isOver = false;
  const fill: Fill = async (target) => {
    let filled = 0;
    while (filled < target.length) {
      if (rest.length === 0) {
        if (isOver) break;
        const { value, done } = await iterator.next();
        isOver = done === true;
        if (!isOver) rest = value as Uint8Array;
        continue;
      }
      const part = rest.subarray(0, target.length - filled);
      target.set(part, filled);
      filled += part.length;
      rest = rest.subarray(part.length);
    }
    return filled;
  };
  try {
    return await use(fill);
  } finally {
    await iterator.return?.();
  }
}

/** Runs `use` with the bytes of a file from its beginning. */
export async function withFile<T>(path: string, use: (fill: Fill) => Promise<T>): Promise<T> {
  await using file = await open(path, "r");
  return await use(async (target) => {
    let filled = 0;
    while (filled < target.length) {
      const { bytesRead } = await file.read(target, filled, target.length - filled, null);
      if (bytesRead === 0) break;
      filled += bytesRead;
    }
    return filled;
  });
}

/**
 * Hands the content on in buffers of chunkBytes, the last one shorter, several at a time and in order, and tells what
 * it was. A buffer is good until what `pass` returns has resolved.
 * @throws what fill and pass threw, when nothing that pass returned is under way any more
 */
export async function passOn(
  fill: Fill,
  chunkBytes: number,
  pass: (chunk: Uint8Array) => Promise<unknown>,
): Promise<ContentFacts> {
  const inFlight = new InFlight();
  let digest: Digest | null = null;
  let size = 0;
  let chunks = 0;
  try {
    for (;;) {
      await inFlight.room(chunkBytes);
      const buffer = takeBuffer(chunkBytes);
      const chunk = buffer.subarray(0, await fill(buffer));
      // Less than a chunk is all there is.
      digest ??= startDigest(chunk.length < chunkBytes ? chunk.length : Number.POSITIVE_INFINITY);
      if (chunk.length === 0) {
        releaseBuffer(buffer);
        break;
      }
      inFlight.add(chunk, digest.update(chunk), pass(chunk));
      size += chunk.length;
      chunks++;
    }
    await inFlight.settleAll();
    return { size, chunks, digest: await digest.finish() };
  } finally {
    await inFlight.end();
    digest?.abandon();
  }
}

/** Size and digest of content that goes nowhere. */
export function measureContent(fill: Fill): Promise<ContentFacts> {
  return passOn(fill, 1 << 20, async () => undefined);
}
