/** Reads a file that another process is writing. The reader is told how far the file has grown; nothing is polled. */
import { open } from "node:fs/promises";

const PART_BYTES = 1 << 20;

/** Each part is valid until the next one is requested. */
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

  /** Tells that the first `bytes` of the file are there and will not change. */
  grow(bytes: number): void {
    this.#bytes = bytes;
    this.#wake();
  }

  end(): void {
    this.#isWhole = true;
    this.#wake();
    this.#onOver();
  }

  /** The reader gets this error, unless the file is complete. */
  fail(error: Error): void {
    this.#failure = error;
    this.#wake();
    this.#onOver();
  }

  /** Resolves when nothing more will come. @throws what `fail` was given */
  async whole(): Promise<void> {
    await this.#over;
    if (!this.#isWhole && this.#failure !== undefined) throw this.#failure;
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array, void, undefined> {
    await using file = await open(this.path);
    // One buffer, reused: new ones for a whole segment cost more than reading it.
    const buffer = Buffer.allocUnsafe(PART_BYTES);
    for (let position = 0; ; ) {
      // Before the first look, so that nothing told during a read is missed.
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
