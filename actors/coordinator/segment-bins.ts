/** Segments by what is left of them, in bins for one job each. */
import type { SegmentDoc } from "../../runtime/protocol/catalog.ts";

/** Inputs of one merge: more of them take long to read, and an attempt that fails is lost work. */
const INPUTS_MAX = 64;

/** What fits into one job: bytes of live rows, and of the objects that are read. */
export interface Room {
  live: number;
  read: number;
  /** Segments; absent: what a merge takes. */
  count?: number;
}

/** First fit: each segment goes into the first bin that has room for it. One that is too large alone has a bin of its own. */
export function inBins(
  segments: readonly SegmentDoc[],
  bytes: (segment: SegmentDoc) => number,
  room: Room,
): SegmentDoc[][] {
  const bins: { segments: SegmentDoc[]; left: Room }[] = [];
  const countMax = room.count ?? INPUTS_MAX;
  for (const segment of segments) {
    const live = bytes(segment);
    const read = segment.object.bytes;
    const fits = ({ segments: { length }, left }: (typeof bins)[number]) =>
      live <= left.live && read <= left.read && length < countMax;
    let bin = bins.find(fits);
    if (bin === undefined) {
      bin = { segments: [], left: { ...room } };
      bins.push(bin);
    }
    bin.segments.push(segment);
    bin.left.live -= live;
    bin.left.read -= read;
  }
  return bins.map((bin) => bin.segments);
}

/** Bytes of the rows that are left, as if all rows were of one size. */
export function liveBytes(segment: SegmentDoc, expiredTs: bigint | undefined): number {
  return Math.ceil(segment.object.bytes * (1 - goneShare(segment, expiredTs)));
}

/** Share of rows that are known to be deleted, or would be expired if they had come evenly. */
export function goneShare({ rowCount, deletes, minTs, maxTs }: SegmentDoc, expiredTs: bigint | undefined): number {
  const deleted = (deletes?.rowCount ?? 0) / rowCount;
  if (expiredTs === undefined || minTs >= expiredTs) return deleted;
  const expired = maxTs < expiredTs ? 1 : Number(expiredTs - minTs) / Number(maxTs - minTs + 1n);
  return Math.min(1, Math.max(deleted, expired));
}
