/**
 * Receives an object's content into a file or into memory. While more arrives, the disk and the digest's thread work on
 * what is here: on the very bytes, where the connection put them into shared memory, else on copies. When they fall
 * behind, reading waits for them.
 */
import { type FileHandle, open } from "node:fs/promises";
import { isShared, takeBuffer } from "../shared-buffers.ts";
import { startDigest } from "./digest.ts";
import { InFlight } from "./in-flight.ts";
import type { ObjectMeta } from "./object-layout.ts";

export type Chunks = AsyncIterable<{ payload: Uint8Array }>;

export interface Received {
  size: number;
  digest: string;
}

/** Joins the chunks in memory of their own (typed arrays may be laid over it). What is more than `size` bytes is left out. */
export async function joinChunks(chunks: Chunks, size: number): Promise<Received & { bytes: Uint8Array }> {
  const bytes = new Uint8Array(size);
  const received = await receive(chunks, size, (chunk, at) => {
    if (at < size) bytes.set(chunk.subarray(0, size - at), at);
    return Promise.resolve();
  });
  return { bytes, ...received };
}

/** Writes the chunks to a new file (or over an old one). Leaves the file behind when it fails. */
export async function writeChunks(chunks: Chunks, size: number, path: string): Promise<Received> {
  await using file = await open(path, "w");
  // One after the other: writes of one file at once wait for each other in threads that others need.
  let written: Promise<void> = Promise.resolve();
  return await receive(chunks, size, (chunk, at) => {
    written = written.then(() => writeAll(file, chunk, at));
    return written;
  });
}

/**
 * Passes the chunks to `keep`, in order and several at a time, and returns their size and digest. A chunk handed to
 * `keep` is good until what that returns has resolved.
 * @throws what chunks and keep threw, when nothing that keep returned is under way any more
 */
export async function receive(
  chunks: Chunks,
  expectedBytes: number,
  keep: (chunk: Uint8Array, at: number) => Promise<void>,
): Promise<Received> {
  const digest = startDigest(expectedBytes);
  const inFlight = new InFlight();
  let size = 0;
  try {
    for await (const { payload } of chunks) {
      await inFlight.room(payload.length);
      const chunk = isShared(payload) ? payload : copyOf(payload);
      inFlight.add(chunk, digest.update(chunk), keep(chunk, size));
      size += chunk.length;
    }
    await inFlight.settleAll();
    return { size, digest: await digest.finish() };
  } finally {
    await inFlight.end();
    digest.abandon();
  }
}

function copyOf(payload: Uint8Array): Uint8Array {
  const copy = takeBuffer(payload.length);
  copy.set(payload);
  return copy;
}

/** How an object differs from what is expected, in words; null when it does not. */
export function differenceOf(
  found: { size: number; digest: string } | ObjectMeta,
  expected: { bytes: number; digest: string },
): string | null {
  if (found.size !== expected.bytes) return `it has ${found.size} bytes, expected ${expected.bytes}`;
  if (found.digest !== expected.digest) return `its digest is ${found.digest}, expected ${expected.digest}`;
  return null;
}

/** FileHandle.write may write less than it was given. */
async function writeAll(file: FileHandle, bytes: Uint8Array, at: number): Promise<void> {
  for (let offset = 0; offset < bytes.length; ) {
    const { bytesWritten } = await file.write(bytes, offset, bytes.length - offset, at + offset);
    offset += bytesWritten;
  }
}
