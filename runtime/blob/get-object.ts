/** Receiving an object's content into a file or into memory, hashing it on the way. */
import { createHash } from "node:crypto";
import { open } from "node:fs/promises";
import { formatDigest, type ObjectMeta } from "./object-layout.ts";

export type Chunks = AsyncIterable<{ payload: Uint8Array }>;

/** Joins the chunks in memory of their own (typed arrays may be laid over it) and says what they were. */
export async function joinChunks(chunks: Chunks): Promise<{ bytes: Uint8Array; size: number; digest: string }> {
  const parts: Uint8Array[] = [];
  const hash = createHash("sha256");
  let size = 0;
  for await (const { payload } of chunks) {
    hash.update(payload);
    parts.push(payload);
    size += payload.length;
  }
  const bytes = new Uint8Array(size);
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return { bytes, size, digest: formatDigest(hash.digest()) };
}

/** Writes the chunks to a new file (or over an old one) and says what they were. Leaves the file behind when it fails. */
export async function writeChunks(chunks: Chunks, path: string): Promise<{ size: number; digest: string }> {
  const hash = createHash("sha256");
  let size = 0;
  await using file = await open(path, "w");
  for await (const { payload } of chunks) {
    hash.update(payload);
    await writeAll(file, payload);
    size += payload.length;
  }
  return { size, digest: formatDigest(hash.digest()) };
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
async function writeAll(
  file: { write(buffer: Uint8Array, offset: number): Promise<{ bytesWritten: number }> },
  bytes: Uint8Array,
): Promise<void> {
  for (let offset = 0; offset < bytes.length; ) {
    const { bytesWritten } = await file.write(bytes, offset);
    offset += bytesWritten;
  }
}
