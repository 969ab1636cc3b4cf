/**
 * Judges a history: whether what clients saw can have come from a database that keeps its promises. Pure.
 *
 * Each key is a register (key-writes.ts) whose value is a version or nothing. Promises checked:
 *   lost, stale, resurrected   a read sees every write that its level covers. Strong: acknowledged (or seen by anybody)
 *                              before the read began. Bounded: the same, 5 s before. Session: what the client itself was
 *                              acknowledged. A write that is overwritten or deleted does not come back
 *   disorder                   Strong reads and acknowledged writes of a key have one order that respects real time
 *   unwritten                  nothing is read that nobody wrote, or that was refused
 *   torn                       the rows of a request on one shard appear, and go, together
 *   duplicate                  a key is in an answer once, and count(*) counts it once
 *   static                     a question whose answer never changes is always answered right and whole
 *   timestamp                  writes get increasing timestamps: a write that began after another's answer a greater one
 *   two_owners, two_leaders    at most one node acts in a term of a channel, in an epoch
 */
import { append } from "../../lists.ts";
import { checkOrder } from "./check-order.ts";
import { checkParts } from "./check-parts.ts";
import {
  describe,
  type History,
  isRead,
  isWrite,
  keysWritten,
  type Observation,
  type Operation,
  type ReadOperation,
  type WriteOperation,
} from "./history.ts";
import { type KeyWrite, KeyWrites, type WritesByKey } from "./key-writes.ts";
import type { Report, Violation, ViolationKind } from "./violation.ts";

export interface CheckOptions {
  /** Which of the shards a key lives on. */
  shardOf: (key: number) => number;
  boundedStalenessMs?: number;
}

const BOUNDED_STALENESS_MS = 5_000;

/** Violations in the order of time; none when all is well. */
export function checkHistory(history: History, options: CheckOptions): Violation[] {
  const { operations } = history;
  const violations: Violation[] = [];
  const report = (kind: ViolationKind, at: number, message: string) => violations.push({ kind, message, at });
  const writes = writesByKey(operations);
  const reads = operations.filter(isRead).filter(({ outcome }) => outcome === "ok");
  for (const { found, end } of reads) {
    for (const { key, version } of found) writes.get(key)?.saw(version, end);
  }
  for (const read of reads) checkRead(read, writes, options.boundedStalenessMs ?? BOUNDED_STALENESS_MS, report);
  checkOrder(reads, writes, report);
  checkParts(reads, writes, options.shardOf, report);
  checkAnswers(operations, writes, report);
  checkTimestamps(operations, report);
  checkActors(history.observations, report);
  return violations.sort((a, b) => a.at - b.at);
}

function writesByKey(operations: readonly Operation[]): WritesByKey {
  const byKey = new Map<number, WriteOperation[]>();
  for (const operation of operations) {
    if (!isWrite(operation) || operation.outcome === "fail") continue;
    for (const key of new Set(keysWritten(operation))) {
      append(byKey, key, operation);
    }
  }
  return new Map([...byKey].map(([key, list]) => [key, new KeyWrites(key, list)]));
}

function checkRead(read: ReadOperation, writes: WritesByKey, boundMs: number, report: Report): void {
  const seen = new Map<number, number>();
  for (const { key, version } of read.found) {
    if (seen.has(key)) report("duplicate", read.end, `${describe(read)} returned key ${key} twice`);
    seen.set(key, version);
    const ofKey = writes.get(key);
    const write = ofKey?.writeOf(version);
    if (ofKey === undefined || write === undefined || write.operation.start > read.end) {
      report(
        "unwritten",
        read.end,
        `${describe(read)} returned key ${key} version ${version}, which nobody had written`,
      );
      continue;
    }
    const covered = newestCovered(read, ofKey, boundMs);
    if (covered === undefined || covered === write || write.certainBy >= covered.operation.start) continue;
    const kind = covered.version === null ? "resurrected" : "stale";
    report(
      kind,
      read.end,
      `${describe(read)} returned key ${key} version ${version} of ${describe(write.operation)}, though ${describe(covered.operation)} came after it`,
    );
  }
  for (const key of read.asked ?? []) {
    const ofKey = writes.get(key);
    if (ofKey === undefined || seen.has(key)) continue;
    const covered = newestCovered(read, ofKey, boundMs);
    if (ofKey.canAbsenceBeExplained(read.end, covered)) continue;
    report(
      "lost",
      read.end,
      `${describe(read)} did not return key ${key}, though ${describe(covered!.operation)} wrote it and no delete can have followed`,
    );
  }
}

/** The newest write of the key that the read's level says it must see. */
function newestCovered(read: ReadOperation, ofKey: KeyWrites, boundMs: number): KeyWrite | undefined {
  switch (read.level) {
    case "Strong":
      return ofKey.newestCertain(read.start);
    case "Bounded":
      return ofKey.newestCertain(read.start - boundMs);
    case "Session":
      return ofKey.newestOwn(read.client, read.start);
    case "Eventually":
      return undefined;
  }
}

function checkAnswers(operations: readonly Operation[], writes: WritesByKey, report: Report): void {
  for (const operation of operations) {
    if (operation.outcome !== "ok") continue;
    if (operation.kind === "static" && operation.problem !== undefined) {
      report("static", operation.end, `${describe(operation)} (${operation.what}): ${operation.problem}`);
    }
    if (operation.kind === "count" && operation.count !== operation.distinctKeys) {
      const { count, distinctKeys } = operation;
      // An insert that nobody knows the outcome of may come after another write of its key: then there are two rows.
      if (count > distinctKeys && count - distinctKeys <= doubtfulInserts(writes)) continue;
      report("duplicate", operation.end, `count(*) is ${count}, but there are ${distinctKeys} keys`);
    }
  }
}

function doubtfulInserts(writes: WritesByKey): number {
  let doubtful = 0;
  for (const { all } of writes.values()) {
    const isDoubtful = all.some(({ operation }) => operation.kind === "insert" && operation.outcome === "info");
    if (isDoubtful && all.length > 1) doubtful++;
  }
  return doubtful;
}

function checkTimestamps(operations: readonly Operation[], report: Report): void {
  const stamped = operations.filter(
    (operation): operation is WriteOperation & { timestamp: bigint } =>
      isWrite(operation) && operation.outcome === "ok" && operation.timestamp !== undefined,
  );
  const byEnd = [...stamped].sort((a, b) => a.end - b.end);
  let next = 0;
  let newest: (WriteOperation & { timestamp: bigint }) | undefined;
  for (const operation of [...stamped].sort((a, b) => a.start - b.start)) {
    for (; next < byEnd.length && byEnd[next]!.end < operation.start; next++) {
      if (newest === undefined || byEnd[next]!.timestamp > newest.timestamp) newest = byEnd[next]!;
    }
    if (newest === undefined || operation.timestamp > newest.timestamp) continue;
    report(
      "timestamp",
      operation.end,
      `${describe(operation)} got ${operation.timestamp}, though ${describe(newest)}, answered before it began, has ${newest.timestamp}`,
    );
  }
}

function checkActors(observations: readonly Observation[], report: Report): void {
  const actors = new Map<string, string>();
  for (const observation of observations) {
    const { nodeId } = observation;
    const office =
      observation.kind === "owner"
        ? `channel ${observation.pchannel} in term ${observation.term}`
        : `the cluster in epoch ${observation.epoch}`;
    const known = actors.get(office);
    if (known === undefined) actors.set(office, nodeId);
    else if (known !== nodeId) {
      const kind = observation.kind === "owner" ? "two_owners" : "two_leaders";
      report(kind, observation.at ?? 0, `${office} was held by both ${known} and ${nodeId}`);
    }
  }
}
