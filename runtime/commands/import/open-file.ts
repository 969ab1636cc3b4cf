/** Input files as streams of chunks, unpacked on the way when they are gzip. Never whole in memory. */
import { createReadStream, statSync } from "node:fs";
import { pipeline, type Readable } from "node:stream";
import { createGunzip } from "node:zlib";
import { errorMessage } from "../../errors.ts";

export interface OpenedFile {
  readonly chunks: AsyncIterable<Buffer>;
  /** How much of the file (as it lies on disk) has been read, 0 to 1. */
  fraction(): number;
  close(): void;
}

const CHUNK_BYTES = 1 << 20;

/** @throws Error that names the file when it cannot be read */
export function openFile(path: string): OpenedFile {
  let size: number;
  try {
    size = statSync(path).size;
  } catch (error) {
    throw new Error(`cannot read ${path}: ${errorMessage(error)}`);
  }
  const source = createReadStream(path, { highWaterMark: CHUNK_BYTES });
  // What goes wrong with either stream ends the last one, and whoever reads it hears of it.
  const stream: Readable = path.endsWith(".gz") ? pipeline(source, createGunzip(), () => undefined) : source;
  return {
    chunks: named(path, stream),
    fraction: () => (size === 0 ? 1 : Math.min(1, source.bytesRead / size)),
    close: () => {
      source.destroy();
      stream.destroy();
    },
  };
}

async function* named(path: string, stream: Readable): AsyncGenerator<Buffer, void, undefined> {
  try {
    for await (const chunk of stream) yield chunk as Buffer;
  } catch (error) {
    throw new Error(`cannot read ${path}: ${errorMessage(error)}`);
  }
}
