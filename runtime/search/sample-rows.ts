/**
 * random_sample: takes about the given fraction of the rows. A row's position in its segment and the plan's seed decide whether
 * it is taken.
 */
import type { Sample } from "../expr/plan.ts";
import type { Bitset } from "../segment/bitset.ts";
import { mix32 } from "../segment/keys.ts";
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

/** Uniform in 32 bits. */
function hashOf(row: number, salt: number): number {
  return mix32(Math.imul(row, 0x9e3779b1) ^ salt);
}
