/**
 * Whether the Strong reads and the acknowledged writes of a key have one order that respects real time (linearizability
 * of a register whose writes can be told apart; Gibbons and Korach, 1997).
 *
 * A version's zone runs from the first end to the last start among its write and the reads that saw it. When the first
 * end comes first, the key held that version throughout: no two such zones overlap, and inside one nothing else can have
 * happened from beginning to end, neither a write, nor a delete, nor a Strong read that found nothing.
 */
import { append } from "../../lists.ts";
import { describe, type Operation, type ReadOperation } from "./history.ts";
import type { WritesByKey } from "./key-writes.ts";
import type { Report } from "./violation.ts";

interface Zone {
  version: number;
  /** The key held the version from here to there for certain, when from < to. */
  from: number;
  to: number;
}

/** Something that was true of the key at some moment between start and end, other than the version it excludes. */
interface Other {
  start: number;
  end: number;
  operation: Operation;
}

export function checkOrder(reads: readonly ReadOperation[], writes: WritesByKey, report: Report): void {
  const strong = reads.filter(({ level }) => level === "Strong");
  const lastStarts = new Map<number, Map<number, number>>();
  const absences = new Map<number, Other[]>();
  for (const read of strong) {
    const seen = new Set<number>();
    for (const { key, version } of read.found) {
      seen.add(key);
      const starts = lastStarts.get(key) ?? new Map<number, number>();
      lastStarts.set(key, starts);
      starts.set(version, Math.max(starts.get(version) ?? Number.NEGATIVE_INFINITY, read.start));
    }
    for (const key of read.asked ?? []) {
      if (seen.has(key) || !writes.has(key)) continue;
      append(absences, key, { start: read.start, end: read.end, operation: read });
    }
  }
  for (const [key, ofKey] of writes) {
    const zones: Zone[] = [];
    const others: (Other & { version: number | null })[] = (absences.get(key) ?? []).map((other) => ({
      ...other,
      version: null,
    }));
    for (const { version, certainBy, operation } of ofKey.all) {
      if (certainBy === Number.POSITIVE_INFINITY) continue;
      others.push({ start: operation.start, end: certainBy, operation, version });
      if (version === null) continue;
      const lastSeen = lastStarts.get(key)?.get(version) ?? Number.NEGATIVE_INFINITY;
      const to = Math.max(operation.start, lastSeen);
      if (certainBy < to) zones.push({ version, from: certainBy, to });
    }
    zones.sort((a, b) => a.from - b.from);
    checkOverlaps(key, zones, report);
    checkInside(key, zones, others, report);
  }
}

function checkOverlaps(key: number, zones: readonly Zone[], report: Report): void {
  for (let i = 1; i < zones.length; i++) {
    const [a, b] = [zones[i - 1]!, zones[i]!];
    if (b.from >= a.to) continue;
    report(
      "disorder",
      b.from,
      `key ${key} held version ${a.version} until ${a.to.toFixed(0)} and version ${b.version} from ${b.from.toFixed(0)}: Strong reads saw them in turns`,
    );
  }
}

function checkInside(
  key: number,
  zones: readonly Zone[],
  others: readonly (Other & { version: number | null })[],
  report: Report,
): void {
  if (zones.length === 0) return;
  for (const other of others) {
    // The last zone that begins before it: zones that do not overlap have one candidate.
    let [low, high] = [0, zones.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (zones[middle]!.from < other.start) low = middle + 1;
      else high = middle;
    }
    const zone = zones[low - 1];
    if (zone === undefined || other.end >= zone.to || other.version === zone.version) continue;
    report(
      "disorder",
      other.end,
      `${describe(other.operation)} concerns key ${key} while it held version ${zone.version}, seen before and after (${zone.from.toFixed(0)}..${zone.to.toFixed(0)})`,
    );
  }
}
