/**
 * The buffers of a transfer that the digest, the disk or the network still works on: a bounded number of bytes,
 * whichever side is slow.
 */
import { releaseBuffer } from "../shared-buffers.ts";

/** Enough to hide the way to the server or the disk and back. */
const BYTES_MAX = 8 << 20;

export class InFlight {
  readonly #busy: { buffer: Uint8Array; done: Promise<Error | null> }[] = [];
  #bytes = 0;

  /** Waits until there is room for a buffer of so many bytes (there is for one of any size alone). @throws what the work threw */
  async room(bytes: number): Promise<void> {
    while (this.#busy.length > 0 && this.#bytes + bytes > BYTES_MAX) await this.#settleOldest();
  }

  /** Takes a buffer on (runtime/shared-buffers.ts), to be released when all work on it is done. */
  add(buffer: Uint8Array, ...work: Promise<unknown>[]): void {
    const done = Promise.allSettled(work).then((outcomes) => {
      const failed = outcomes.find((outcome) => outcome.status === "rejected");
      // Failed work may still be using the buffer: a server that does not answer may be reading it.
      if (failed === undefined) releaseBuffer(buffer);
      return failed === undefined ? null : (failed.reason as Error);
    });
    this.#busy.push({ buffer, done });
    this.#bytes += buffer.length;
  }

  /** @throws the first error of any work */
  async settleAll(): Promise<void> {
    while (this.#busy.length > 0) await this.#settleOldest();
  }

  /** The end of it: resolves when nothing is under way any more, whatever came of it. */
  async end(): Promise<void> {
    await Promise.all(this.#busy.splice(0).map(({ done }) => done));
  }

  async #settleOldest(): Promise<void> {
    const { buffer, done } = this.#busy[0]!;
    const error = await done;
    if (error !== null) throw error;
    this.#busy.shift();
    this.#bytes -= buffer.length;
  }
}
