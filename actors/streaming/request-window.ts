/**
 * The newest write requests of a shard and what they were answered, so that a retry is answered the same and applied
 * once, also by the next owner: replay and the object written at each flush fill the window again.
 */
import { VdbError } from "../../runtime/errors.ts";
import { decode, encode } from "../../runtime/protocol/codec.ts";

/** Of the object's form: `{ version, requests: [[request id, timestamp, sequence], ...] }`; the first form was the list alone. */
const FORMAT = 2;

/** Requests remembered a shard: minutes of retries at thousands of writes a second, some 300 KB in an object. */
const WINDOW_REQUESTS = 8192;

export interface Applied {
  ts: bigint;
  seq: number;
}

export class RequestWindow {
  // A Map keeps insertion order: the first key is the oldest.
  readonly #applied = new Map<string, Applied>();

  get(requestId: string): Applied | undefined {
    return this.#applied.get(requestId);
  }

  add(requestId: string, applied: Applied): void {
    this.#applied.set(requestId, applied);
    if (this.#applied.size <= WINDOW_REQUESTS) return;
    for (const oldest of this.#applied.keys()) {
      this.#applied.delete(oldest);
      return;
    }
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
