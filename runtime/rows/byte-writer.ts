/** UTF-8 text of many cells, written one after the other into one buffer. */

/** For texts longer than this a call out of JavaScript pays. */
const LOOP_CHARS_MAX = 48;

const encoder = new TextEncoder();

export class ByteWriter {
  #bytes: Uint8Array;
  #length = 0;

  constructor(capacity: number) {
    this.#bytes = new Uint8Array(Math.max(64, capacity));
  }

  get length(): number {
    return this.#length;
  }

  /** Appends a text and returns how many bytes it took. */
  write(text: string): number {
    const start = this.#length;
    // A UTF-16 unit takes three bytes at most.
    this.#reserve(text.length * 3);
    if (text.length > LOOP_CHARS_MAX || !this.#writeAscii(text)) {
      this.#length = start + encoder.encodeInto(text, this.#bytes.subarray(start)).written;
    }
    return this.#length - start;
  }

  /** The bytes written; the writer must not be used afterwards. */
  take(): Uint8Array {
    // A view would keep the slack alive as long as the column.
    return this.#length * 2 < this.#bytes.length
      ? this.#bytes.slice(0, this.#length)
      : this.#bytes.subarray(0, this.#length);
  }

  #writeAscii(text: string): boolean {
    const bytes = this.#bytes;
    const start = this.#length;
    for (let i = 0; i < text.length; i++) {
      const unit = text.charCodeAt(i);
      if (unit >= 0x80) return false;
      bytes[start + i] = unit;
    }
    this.#length = start + text.length;
    return true;
  }

  #reserve(count: number): void {
    const needed = this.#length + count;
    if (needed <= this.#bytes.length) return;
    const larger = new Uint8Array(Math.max(needed, this.#bytes.length * 2));
    larger.set(this.#bytes.subarray(0, this.#length));
    this.#bytes = larger;
  }
}
