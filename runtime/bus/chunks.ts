/** Messages larger than the server's max_payload, cut and joined. All parts go to one subject, in order, on one connection. */

import { VdbError } from "../errors.ts";

/** Room that headers and protocol take of max_payload. */
const OVERHEAD_BYTES = 4096;

/** Parts of one message at most: with 8 MiB payloads, 1 GiB. */
const MAX_CHUNKS = 128;

/** @throws VdbError parameter_too_large */
export function splitChunks(data: Uint8Array, maxPayload: number): Uint8Array[] {
  const size = maxPayload - OVERHEAD_BYTES;
  if (data.length <= size) return [data];
  if (data.length > size * MAX_CHUNKS) {
    throw new VdbError(
      "parameter_too_large",
      `message of ${data.length} bytes, at most ${size * MAX_CHUNKS} can be sent`,
    );
  }
  const chunks: Uint8Array[] = [];
  for (let at = 0; at < data.length; at += size) chunks.push(data.subarray(at, at + size));
  return chunks;
}

/** Joins the parts of one message; a part's header reads `index/count`. Parts that make no sense are ignored: the ask then ends by its deadline. */
export class ChunkAssembler {
  readonly #parts: Uint8Array[] = [];
  #count = 0;
  #received = 0;

  /** The whole message once its last part is here, else null. A message without the header is whole. */
  add(data: Uint8Array, header: string | undefined): Uint8Array | null {
    if (header === undefined) return data;
    const match = /^(\d{1,3})\/(\d{1,3})$/.exec(header);
    const index = Number(match?.[1]);
    const count = Number(match?.[2]);
    if (match === null || index >= count || count > MAX_CHUNKS) return null;
    if (this.#count === 0) this.#count = count;
    if (count !== this.#count) return null;
    if (this.#parts[index] === undefined) this.#received++;
    this.#parts[index] = data;
    if (this.#received < count) return null;
    return Buffer.concat(this.#parts);
  }
}
