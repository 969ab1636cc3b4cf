/** A file that another process writes, read while it grows. Who follows is told how far it has come; nothing is polled. */
import { open } from "node:fs/promises";

const PART_BYTES = 1 << 20;

/** Each part is good until the next one is asked for. */
export class FollowedFile implements AsyncIterable<Uint8Array> {
  readonly path: string;
  #bytes = 0;
  #isWhole = false;
  #failure: Error | undefined;
  #wake: () => void = () => undefined;
  #onOver: () => void = () => undefined;
  readonly #over = new Promise<void>((resolve) => {
    this.#onOver = resolve;
  });

  constructor(path: string) {
    this.path = path;
  }

  /** The first so many bytes are there, and stay. */
  grow(bytes: number): void {
    this.#bytes = bytes;
    this.#wake();
  }

  end(): void {
    this.#isWhole = true;
    this.#wake();
    this.#onOver();
  }

  /** Whoever reads gets it, unless the file is whole. */
  fail(error: Error): void {
    this.#failure = error;
    this.#wake();
    this.#onOver();
  }

  /** Resolves when there is nothing to come. @throws what `fail` was given */
  async whole(): Promise<void> {
    await this.#over;
    if (!this.#isWhole && this.#failure !== undefined) throw this.#failure;
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array, void, undefined> {
    await using file = await open(this.path);
    // One again and again: new ones for all of a segment cost more than reading it.
    const buffer = Buffer.allocUnsafe(PART_BYTES);
    for (let position = 0; ; ) {
      // Before the first look: what is said while this one reads must not be missed.
      const more = new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
      while (position < this.#bytes) {
        const { bytesRead } = await file.read(buffer, 0, Math.min(PART_BYTES, this.#bytes - position), position);
        if (bytesRead === 0) throw new Error(`${this.path} is shorter than it was`);
        position += bytesRead;
        yield buffer.subarray(0, bytesRead);
      }
      if (this.#isWhole) return;
      if (this.#failure !== undefined) throw this.#failure;
      await more;
    }
  }
}
