/**
 * The newest write requests of a shard and what they were answered, so that a retry is answered the same and applied
 * once, also by the next owner: replay and the object written at each flush fill the window again.
 */
import { VdbError } from "../../runtime/errors.ts";
import { decode, encode } from "../../runtime/protocol/codec.ts";
import { msOfTimestamp } from "../../runtime/timestamps.ts";

/** Of the object's form: `{ version, requests: [[request id, timestamp, sequence], ...] }`; the first form was the list alone. */
const FORMAT = 2;

/**
 * The newest requests of a shard are remembered, however old; and all of the last minute, twice as long as a client retries
 * unless told otherwise, up to a bound: an object of 1.4 MB, written with each flush. It holds 30 s of 1,000 requests a second.
 */
const REQUESTS_MIN = 8_192;
const REQUESTS_MAX = 32_768;
const REMEMBERED_MS = 60_000;
/** Old requests are looked for after this many new ones. */
const LOOK_EVERY = 1_024;

export interface Applied {
  ts: bigint;
  seq: number;
}

export class RequestWindow {
  // A Map keeps insertion order: the first key is the oldest.
  readonly #applied = new Map<string, Applied>();
  /** How many there must be before old ones are looked for. */
  #lookAt = REQUESTS_MIN + LOOK_EVERY;

  get(requestId: string): Applied | undefined {
    return this.#applied.get(requestId);
  }

  add(requestId: string, applied: Applied): void {
    this.#applied.set(requestId, applied);
    if (this.#applied.size < this.#lookAt) return;
    const now = msOfTimestamp(applied.ts);
    for (const [oldest, { ts }] of this.#applied) {
      const { size } = this.#applied;
      if (size <= REQUESTS_MIN || (size <= REQUESTS_MAX && now - msOfTimestamp(ts) < REMEMBERED_MS)) break;
      this.#applied.delete(oldest);
    }
    this.#lookAt = this.#applied.size + LOOK_EVERY;
  }

  get size(): number {
    return this.#applied.size;
  }

  toBytes(): Uint8Array {
    const requests = [...this.#applied].map(([requestId, { ts, seq }]) => [requestId, ts, seq]);
    return encode({ version: FORMAT, requests });
  }

  /** Puts what an earlier owner knew in front of what replay has found since. @throws VdbError newer_version */
  prepend(bytes: Uint8Array): void {
    const later = [...this.#applied];
    this.#applied.clear();
    for (const [requestId, ts, seq] of storedRequests(decode(bytes))) {
      this.add(requestId, { ts: BigInt(ts), seq });
    }
    for (const [requestId, applied] of later) this.add(requestId, applied);
  }
}

type StoredRequest = [requestId: string, ts: bigint | number, seq: number];

function storedRequests(stored: unknown): StoredRequest[] {
  if (Array.isArray(stored)) return stored as StoredRequest[];
  const { version, requests } = stored as { version: number; requests: StoredRequest[] };
  if (version === FORMAT) return requests;
  throw new VdbError("newer_version", `request ids are in format ${version}, this program reads ${FORMAT}`);
}
