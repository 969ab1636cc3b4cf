/**
 * A mapped file, unmapped once it has been released and nobody reads it any more. Until then its views can be read;
 * afterwards they are empty.
 */
import type { MappedFile } from "../../runtime/ann/engine.ts";

export class HeldFile {
  readonly bytes: ArrayBuffer;
  readonly #file: MappedFile;
  #holds = 0;
  #isReleased = false;

  constructor(file: MappedFile) {
    this.#file = file;
    this.bytes = file.bytes;
  }

  /** Until as many calls of letGo. */
  hold(): void {
    this.#holds++;
  }

  letGo(): void {
    this.#holds--;
    this.#unmapUnread();
  }

  release(): void {
    this.#isReleased = true;
    this.#unmapUnread();
  }

  #unmapUnread(): void {
    if (this.#isReleased && this.#holds === 0) this.#file[Symbol.dispose]();
  }
}

/** Holds the files of segments until disposed of: a segment released meanwhile keeps its vectors. */
export function holdFiles(segments: readonly { mapped: HeldFile | undefined }[]): Disposable {
  for (const { mapped } of segments) mapped?.hold();
  return {
    [Symbol.dispose]: () => {
      for (const { mapped } of segments) mapped?.letGo();
    },
  };
}
