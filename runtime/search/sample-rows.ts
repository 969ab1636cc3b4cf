/** random_sample: about the fraction of the rows, each taken or not by its place in its segment and the plan's seed. */
import type { Sample } from "../expr/plan.ts";
import type { Bitset } from "../segment/bitset.ts";
import type { Segment } from "../segment/segment.ts";

const UINT32 = 2 ** 32;

/** The bitset is a new one. */
export function sampleRows(rows: Bitset, { segmentId }: Segment, firstRow: number, sample: Sample): Bitset {
  const limit = Math.round(sample.fraction * UINT32);
  let salt = sample.seed | 0;
  for (let i = 0; i < segmentId.length; i++) salt = Math.imul(salt ^ segmentId.charCodeAt(i), 0x01000193);
  const taken = new Uint32Array(rows.length);
  for (let w = 0; w < rows.length; w++) {
    let word = 0;
    for (let open = rows[w]!; open !== 0; open &= open - 1) {
      const bit = open & -open;
      if (hashOf(firstRow + (w << 5) + 31 - Math.clz32(bit), salt) < limit) word |= bit;
    }
    taken[w] = word;
  }
  return taken;
}

/** Uniform in 32 bits (MurmurHash3's finaliser). */
function hashOf(row: number, salt: number): number {
  let hash = Math.imul(row, 0x9e3779b1) ^ salt;
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}
