/**
 * Whether requests show whole. A write request has a part for each shard that its keys live on; a part is one entry of
 * the log, so a read sees all of a part or nothing of it. Between shards nothing is promised. A delete by a filter that
 * lists no keys is a read and then deletes, and has no parts.
 */
import { describe, keysWritten, type ReadOperation, type WriteOperation } from "./history.ts";
import type { KeyWrite, WritesByKey } from "./key-writes.ts";
import type { Report } from "./violation.ts";

export function checkParts(
  reads: readonly ReadOperation[],
  writes: WritesByKey,
  shardOf: (key: number) => number,
  report: Report,
): void {
  for (const read of reads) {
    const found = new Map(read.found.map(({ key, version }) => [key, version]));
    const asked = read.asked === null ? null : new Set(read.asked);
    // Undefined: the read says nothing about the key.
    const valueAt = (key: number): number | null | undefined =>
      found.get(key) ?? (asked?.has(key) === true ? null : undefined);
    const reported = new Set<WriteOperation>();

    const checkPart = (operation: WriteOperation, shownBy: number) => {
      if (reported.has(operation)) return;
      for (const key of keysWritten(operation)) {
        if (key === shownBy || shardOf(key) !== shardOf(shownBy)) continue;
        const value = valueAt(key);
        if (value === undefined || canFollow(writes, key, value, operation, read)) continue;
        reported.add(operation);
        report(
          "torn",
          read.end,
          `${describe(read)} shows ${describe(operation)} at key ${shownBy} but not at key ${key} of the same shard, which has ${value === null ? "no row" : `version ${value}`}`,
        );
        return;
      }
    };

    for (const [key, version] of found) {
      const write = writes.get(key)?.writeOf(version);
      if (write !== undefined) checkPart(write.operation, key);
    }
    for (const key of asked ?? []) {
      const operation = found.has(key) ? undefined : onlyExplanation(writes, key, read);
      if (operation !== undefined && !operation.isFiltered) checkPart(operation, key);
    }
  }
}

/** Whether the key can have had this value when all of `operation` was there. */
function canFollow(
  writes: WritesByKey,
  key: number,
  value: number | null,
  operation: WriteOperation,
  read: ReadOperation,
): boolean {
  const ofKey = writes.get(key)!;
  const fits = (write: KeyWrite) =>
    write.operation === operation || (write.certainBy >= operation.start && write.operation.start <= read.end);
  if (value === null) return ofKey.deletes.some(fits);
  const write = ofKey.writeOf(value);
  // What nobody wrote is reported elsewhere.
  return write === undefined || fits(write);
}

/** The one delete that must have happened for the key to be absent; undefined when there may be several reasons. */
function onlyExplanation(writes: WritesByKey, key: number, read: ReadOperation) {
  const ofKey = writes.get(key);
  if (ofKey === undefined) return undefined;
  // Only a Strong read that begins after the row was certainly there proves that a delete has happened.
  const newest = read.level === "Strong" ? ofKey.newestCertain(read.start) : undefined;
  if (newest === undefined) return undefined;
  const [only, another] = ofKey.deletesThatExplain(read.end, newest);
  if (only === undefined || another !== undefined) return undefined;
  return only.operation.kind === "delete" ? only.operation : undefined;
}
