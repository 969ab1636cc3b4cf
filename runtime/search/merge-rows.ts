/**
 * Merging the rows that queries without a vector found: ascending by primary key, one row a key (the newest), at most
 * `limit`. The same step at the query node, the delegator and the proxy.
 */
import type { FoundRows } from "../protocol/values.ts";
import type { PrimaryKey } from "../segment/column.ts";
import { gatherColumn, gatherRows, type RowPick } from "../segment/gather.ts";
import { compareKeys, type KeyColumn, keyAt } from "../segment/keys.ts";

export function mergeRows(parts: readonly FoundRows[], fieldIds: readonly number[], limit: number | null): FoundRows {
  const pick = pickNewest(parts, limit);
  return gatherFound(parts, pick, fieldIds);
}

/** The rows in the picked order. */
export function gatherFound(parts: readonly FoundRows[], pick: RowPick, fieldIds: readonly number[]): FoundRows {
  const timestamps = new BigInt64Array(pick.rows.length);
  for (let i = 0; i < timestamps.length; i++) timestamps[i] = parts[pick.sources[i]!]!.timestamps[pick.rows[i]!]!;
  const [first] = parts;
  if (first === undefined) throw new Error("nothing to merge");
  return {
    keys: gatherColumn(
      parts.map((part) => part.keys),
      first.keys,
      pick,
    ) as KeyColumn,
    timestamps,
    batch: gatherRows(
      parts.map((part) => part.batch),
      pick,
      fieldIds,
    ),
  };
}

/** Which rows stay, in order of their keys. */
export function pickNewest(parts: readonly Pick<FoundRows, "keys" | "timestamps">[], limit: number | null): RowPick {
  const candidates: { key: PrimaryKey; ts: bigint; source: number; row: number }[] = [];
  parts.forEach((part, source) => {
    for (let row = 0; row < part.timestamps.length; row++) {
      candidates.push({ key: keyAt(part.keys, row), ts: part.timestamps[row]!, source, row });
    }
  });
  candidates.sort((a, b) => compareKeys(a.key, b.key) || (a.ts < b.ts ? 1 : a.ts > b.ts ? -1 : 0));
  const kept = candidates.filter((candidate, i) => i === 0 || compareKeys(candidates[i - 1]!.key, candidate.key) !== 0);
  const page = limit === null ? kept : kept.slice(0, limit);
  return {
    sources: Uint32Array.from(page, (candidate) => candidate.source),
    rows: Uint32Array.from(page, (candidate) => candidate.row),
  };
}
