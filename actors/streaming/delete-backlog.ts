/**
 * Deletes that are in deltas of a shard because no data node has distributed them to its segments yet. Query nodes keep
 * them in memory and the manifest names each delta, so what adds to them is let in while they are few.
 */
import type { ManifestDoc } from "../../runtime/protocol/catalog.ts";
import type { Level } from "./admission.ts";

/** A delta counts as this much at least, for its place in the manifest. */
const DELTA_BYTES_MIN = 64 << 10;

/** The level that a write of this kind adds to; none when it deletes nothing. */
export function deleteBacklog(operation: string, manifest: ManifestDoc | undefined, bytesMax: number): Level[] {
  if (operation === "insert" || manifest === undefined) return [];
  let bytes = 0;
  for (const { object } of manifest.deltas) bytes += Math.max(DELTA_BYTES_MIN, object.bytes);
  return [{ what: "deletes of a shard that data nodes have not distributed yet", bytes, bytesMax }];
}
