/** Time to live of a collection's rows: older ones are seen by no read, and compaction leaves them out. */
import type { CollectionDoc } from "./protocol/catalog.ts";
import { timestampOfMs } from "./timestamps.ts";

export const TTL_PROPERTY = "collection.ttl.seconds";

/** -1 and 0: rows live for ever. */
export const TTL_SECONDS_MIN = -1;
/** A hundred years. */
export const TTL_SECONDS_MAX = 3_155_760_000;

/** Rows from before this timestamp have outlived their time as seen at `nowTs`; undefined: they live for ever. */
export function expiredTs(collection: Pick<CollectionDoc, "properties">, nowTs: bigint): bigint | undefined {
  const seconds = Number(collection.properties[TTL_PROPERTY] ?? -1);
  if (!(seconds > 0)) return undefined;
  const ts = nowTs - timestampOfMs(seconds * 1000);
  return ts > 0n ? ts : 0n;
}
