/**
 * The newest write requests of a shard and what they were answered, so that a retry is answered the same and applied
 * once, also by the next owner: replay and the object written at each flush fill the window again.
 */
import { decode, encode } from "../../runtime/protocol/codec.ts";

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
    return encode([...this.#applied].map(([requestId, { ts, seq }]) => [requestId, ts, seq]));
  }

  /** Puts what an earlier owner knew in front of what replay has found since. */
  prepend(bytes: Uint8Array): void {
    const later = [...this.#applied];
    this.#applied.clear();
    for (const [requestId, ts, seq] of decode(bytes) as [string, bigint | number, number][]) {
      this.add(requestId, { ts: BigInt(ts), seq });
    }
    for (const [requestId, applied] of later) this.add(requestId, applied);
  }
}
