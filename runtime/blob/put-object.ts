/**
 * Sends an object's content: cut into chunks, several in flight, hashed meanwhile. The npm client's own put waits for
 * each chunk and hashes on the event loop.
 */
import { headers, type NatsConnection } from "nats";
import { VdbError } from "../errors.ts";
import { type PublishOutcome, publish } from "../meta/stream-calls.ts";
import { type ContentFacts, type Fill, passOn } from "./content.ts";

/**
 * The server writes and syncs each chunk by itself: of 1 MiB it takes a third fewer, of 4 MiB too few are under way at a
 * time. A server whose max_payload is smaller gets what fits, headers included.
 */
export function chunkBytesFor(maxPayload: number): number {
  return Math.min(1 << 21, maxPayload - 4_096);
}

/** Far more than eight megabytes take on a slow disk; a server that restarts in between loses its answers for good. */
const CHUNK_TIMEOUT_MS = 5_000;

/**
 * Stores the content as messages of a subject that is its alone.
 * @throws VdbError unavailable when a chunk was refused or its fate is unknown: what is there is garbage then
 */
export async function sendChunks(
  nc: NatsConnection,
  target: { subject: string; chunkBytes: number },
  fill: Fill,
): Promise<ContentFacts> {
  const { subject, chunkBytes } = target;
  let lastSeq: Promise<number> = Promise.resolve(0);
  return await passOn(fill, chunkBytes, (payload) => {
    const before = lastSeq;
    const answer = publish(nc, { subject, payload, headers: headers() }, CHUNK_TIMEOUT_MS).catch(
      (error: Error) => error,
    );
    // Its own answer first: a chunk on its way must not arrive after the caller has cleaned up.
    lastSeq = answer.then(async (outcome) => sequenceAfter(await before, outcome, subject));
    return lastSeq;
  });
}

/** A reader takes chunks by sequence, so theirs must grow: one connection keeps the order, and this makes sure. */
function sequenceAfter(lastSeq: number, outcome: PublishOutcome | Error, subject: string): number {
  if (outcome instanceof Error) throw outcome;
  if (outcome.kind === "stored" && outcome.seq > lastSeq) return outcome.seq;
  const reason = { stored: "stored out of order", refused: "refused", unknown: "not acknowledged" }[outcome.kind];
  const description = outcome.kind === "refused" ? ` (${outcome.description})` : "";
  throw new VdbError("unavailable", `a chunk of ${subject} was ${reason}${description}; put the object again`);
}
