/** Terms as the indices of sparse vectors: CRC-32 of their UTF-8, as Milvus has it, so that sparse output means the same. */
import { crc32 } from "node:zlib";

/** The greatest index of a sparse vector is one less. */
const UINT32_MAX = 0xffff_ffff;

export function termId(term: string): number {
  const id = crc32(term);
  return id === UINT32_MAX ? id - 1 : id;
}
