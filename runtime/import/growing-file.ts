/** A segment's Arrow file that grows chunk by chunk: what has been written can be read and does not change. */
import { type FileHandle, open } from "node:fs/promises";
import { type FileField, type SegmentFileWriter, type StoredChunk, segmentFileWriter } from "../segment/arrow-file.ts";

export class GrowingFile {
  readonly path: string;
  readonly #file: FileHandle;
  readonly #writer: SegmentFileWriter;
  #bytes = 0;
  #rowCount = 0;

  private constructor(path: string, file: FileHandle, fields: readonly FileField[]) {
    this.path = path;
    this.#file = file;
    this.#writer = segmentFileWriter(fields);
  }

  static async create(path: string, fields: readonly FileField[]): Promise<GrowingFile> {
    return new GrowingFile(path, await open(path, "wx"), fields);
  }

  get bytes(): number {
    return this.#bytes;
  }

  get rowCount(): number {
    return this.#rowCount;
  }

  async write(chunk: StoredChunk): Promise<void> {
    await this.#append(this.#writer.write(chunk));
    this.#rowCount += chunk.batch.rowCount;
  }

  /** Completes the file and closes it. */
  async end(): Promise<void> {
    await this.#append(this.#writer.finish());
    await this.#file.close();
  }

  /** Closes the file, incomplete. */
  close(): Promise<void> {
    return this.#file.close();
  }

  async #append(parts: Uint8Array[]): Promise<void> {
    const bytes = parts.reduce((sum, part) => sum + part.byteLength, 0);
    const { bytesWritten } = await this.#file.writev(parts);
    if (bytesWritten !== bytes) throw new Error(`${this.path}: ${bytesWritten} bytes written of ${bytes}`);
    this.#bytes += bytes;
  }
}
