/**
 * Sending an object's content: cut into chunks, hashed on the way, several in flight. The npm client's own put waits
 * for each chunk (22 MB/s with its default hash, 150 with the native one; this: 200-300).
 */
import { createHash } from "node:crypto";
import { headers, type NatsConnection } from "nats";
import { VdbError } from "../errors.ts";
import { type PublishOutcome, publish } from "../meta/stream-calls.ts";
import { formatDigest } from "./object-layout.ts";

export type Content = AsyncIterable<Uint8Array> | Iterable<Uint8Array>;

export interface ContentFacts {
  size: number;
  chunks: number;
  digest: string;
}

/** 1 MiB chunks were fastest; a server whose max_payload is smaller gets what fits, headers included. */
export function chunkBytesFor(maxPayload: number): number {
  return Math.min(1 << 20, maxPayload - 4_096);
}

/** Far more than four megabytes take on a slow disk; a server that restarts in between loses its answers for good. */
const CHUNK_TIMEOUT_MS = 5_000;

/** Of 1 MiB: enough to hide the way there and back, and little enough for the server's queues. */
const CHUNKS_IN_FLIGHT = 4;

/**
 * Stores the content as messages of a subject that is its alone. Buffers of content are sent as they are: they must
 * not change afterwards.
 * @throws VdbError unavailable when a chunk was refused or its fate is unknown: what is there is garbage then
 */
export async function sendChunks(
  nc: NatsConnection,
  target: { subject: string; chunkBytes: number },
  content: Content,
): Promise<ContentFacts> {
  const { subject, chunkBytes } = target;
  const hash = createHash("sha256");
  const inFlight: Promise<PublishOutcome | Error>[] = [];
  let lastSeq = 0;
  const settleOldest = async (): Promise<void> => {
    lastSeq = storedAfter(await inFlight.shift()!, lastSeq, subject);
  };
  let size = 0;
  let chunks = 0;
  try {
    for await (const chunk of rechunk(content, chunkBytes)) {
      if (inFlight.length === CHUNKS_IN_FLIGHT) await settleOldest();
      inFlight.push(
        publish(nc, { subject, payload: chunk, headers: headers() }, CHUNK_TIMEOUT_MS).catch((error: Error) => error),
      );
      hash.update(chunk);
      size += chunk.length;
      chunks++;
    }
    while (inFlight.length > 0) await settleOldest();
  } finally {
    // After a failure: the rest must not arrive after the caller has cleaned up.
    await Promise.all(inFlight);
  }
  return { size, chunks, digest: formatDigest(hash.digest()) };
}

/** Size and digest of content that need not be sent. */
export async function measureContent(content: Content): Promise<{ size: number; digest: string }> {
  const hash = createHash("sha256");
  let size = 0;
  for await (const piece of content) {
    hash.update(piece);
    size += piece.length;
  }
  return { size, digest: formatDigest(hash.digest()) };
}

/** A reader takes chunks by sequence, so theirs must grow: one connection keeps the order, and this makes sure. */
function storedAfter(outcome: PublishOutcome | Error, lastSeq: number, subject: string): number {
  if (outcome instanceof Error) throw outcome;
  if (outcome.kind === "stored" && outcome.seq > lastSeq) return outcome.seq;
  const reason = { stored: "stored out of order", refused: "refused", unknown: "not acknowledged" }[outcome.kind];
  const description = outcome.kind === "refused" ? ` (${outcome.description})` : "";
  throw new VdbError("unavailable", `a chunk of ${subject} was ${reason}${description}; put the object again`);
}

/** The same bytes in pieces of exactly chunkBytes, but for the last. Copies only where pieces must be joined. */
export async function* rechunk(content: Content, chunkBytes: number): AsyncGenerator<Uint8Array, void, undefined> {
  let parts: Uint8Array[] = [];
  let bytes = 0;
  for await (const piece of content) {
    let rest = piece;
    while (bytes + rest.length >= chunkBytes) {
      const taken = chunkBytes - bytes;
      parts.push(rest.subarray(0, taken));
      yield parts.length === 1 ? parts[0]! : Buffer.concat(parts);
      rest = rest.subarray(taken);
      parts = [];
      bytes = 0;
    }
    if (rest.length > 0) {
      parts.push(rest);
      bytes += rest.length;
    }
  }
  if (bytes > 0) yield parts.length === 1 ? parts[0]! : Buffer.concat(parts);
}
