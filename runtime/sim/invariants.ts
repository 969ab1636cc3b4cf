/**
 * What must hold in the stores at every moment, whatever the faults: looked at with every change, where it is made.
 *
 *   log      each channel: terms never go back; a term begins with one fence, and its messages are numbered without a gap;
 *            each message points back to the one of its kind before it; timestamps of entries grow; nothing is purged that
 *            the channel's checkpoint does not cover
 *   meta     what the coordinator alone may change is changed only under the guard of the epoch that is in force
 *   objects  what a manifest names is there, as it was stored
 */
import type { LogMessage } from "../log/port.ts";
import { decodeRecord, type LogRecord } from "../log/record.ts";
import { type ManifestDoc, metaKeys } from "../protocol/catalog.ts";
import { decode } from "../protocol/codec.ts";
import type { SimServer } from "./server.ts";
import type { Commit } from "./sim-keyed.ts";
import type { LogStream } from "./sim-log.ts";

type Report = (problem: string) => void;

/** Kinds of keys that only a leader writes. Owners of channels write manifests and checkpoints too. */
const LEADERS_KEYS = /^(cluster|window|channel|name|collection|view)(\.|$)/;

export function watchInvariants(server: SimServer, report: Report): void {
  for (const stream of server.streams) watchLog(server, stream, report);
  watchMeta(server, report);
}

function watchLog(server: SimServer, stream: LogStream, report: Report): void {
  const fail = (seq: number, why: string) => report(`log ${stream.channel} message ${seq}: ${why}`);
  const begun = new Set<number>();
  const lastOfKind = new Map<string, { seq: number; crc: number }>();
  let [term, index, lastTs, lastSeq] = [0, -1, 0n, 0];
  stream.onAppend = (message: LogMessage) => {
    const { seq } = message;
    let record: LogRecord;
    try {
      record = decodeRecord(message.payload);
    } catch (error) {
      fail(seq, `is no record: ${String(error)}`);
      return;
    }
    if (seq !== lastSeq + 1) fail(seq, `is stored after ${lastSeq}`);
    lastSeq = seq;
    if (record.term < term) fail(seq, `has term ${record.term} after term ${term}`);
    if (record.term > term) {
      if (record.kind !== "ctl" || record.index !== 0) fail(seq, `begins term ${record.term}, and is no fence`);
      if (begun.has(record.term)) fail(seq, `begins term ${record.term} again`);
      begun.add(record.term);
    } else if (record.index !== index + 1) {
      fail(seq, `has number ${record.index} in term ${record.term} after ${index}`);
    }
    [term, index] = [record.term, record.index];
    const previous = lastOfKind.get(record.kind) ?? { seq: 0, crc: 0 };
    // A term's first fence is made before it knows what it will follow; its own kind it must know.
    if (record.previousSeq !== previous.seq || record.previousCrc !== previous.crc) {
      fail(seq, `(${record.kind}) points back to ${record.previousSeq}, before it is ${previous.seq}`);
    }
    lastOfKind.set(record.kind, { seq, crc: record.crc });
    for (const { ts } of record.entries) {
      if (ts <= lastTs) fail(seq, `has timestamp ${ts} after ${lastTs}`);
      lastTs = ts;
    }
  };
  stream.onPurge = (throughSeq) => {
    server.tally.count("log cut");
    const checkpoint = server.meta.get(metaKeys.checkpoint(stream.channel));
    const covered = checkpoint === null ? 0 : Number((decode(checkpoint.value) as { seq: number | bigint }).seq);
    if (throughSeq > covered) fail(throughSeq, `is purged, the checkpoint is at ${covered}`);
  };
}

interface NamedObject {
  name: string;
  digest: string;
}

function watchMeta(server: SimServer, report: Report): void {
  /** Objects that manifests name, by the key of the manifest. */
  const named = new Map<string, NamedObject[]>();
  const manifests = new Map<string, ManifestDoc>();
  let epochRevision = 0;
  server.meta.onCommit = ({ changes, ops, by }: Commit) => {
    const guard = ops.find((op) => op.op === "guard" && op.key === metaKeys.epoch);
    if (guard !== undefined && guard.revision !== epochRevision) {
      report(`${by} committed ${keysOf(ops)} under epoch revision ${guard.revision}, in force is ${epochRevision}`);
    }
    for (const { key, value, revision } of changes) {
      if (key === metaKeys.epoch) epochRevision = revision;
      if (guard === undefined && LEADERS_KEYS.test(key)) report(`${by} changed ${key} without the guard of the epoch`);
      countChange(server, key);
      if (!key.startsWith("manifest.")) continue;
      const manifest = value === null ? null : (decode(value) as ManifestDoc);
      if (manifest !== null) countSteps(server, manifests.get(key), manifest);
      if (manifest !== null) manifests.set(key, manifest);
      const objects = namedIn(manifest);
      named.set(key, objects);
      for (const object of objects) requireStored(server, key, object, report);
    }
  };
  server.blobs.onRemove = (name) => {
    server.tally.count("object collected");
    for (const [key, objects] of named) {
      if (objects.some((object) => object.name === name)) report(`object ${name} is removed, ${key} names it`);
    }
  };
}

/** Kinds of keys whose changes are steps of the cluster's life, with what they are called. */
const CHANGES: Record<string, string> = { epoch: "leader changed", channel: "channel moved", view: "view changed" };

function countChange({ tally }: SimServer, key: string): void {
  const what = CHANGES[key.split(".", 1)[0]!];
  if (what !== undefined) tally.count(what);
}

/** What of the life of segments one change of a manifest is. */
function countSteps({ tally }: SimServer, before: ManifestDoc | undefined, after: ManifestDoc): void {
  if (before === undefined) return;
  const known = new Set([...before.segments, ...before.staged.flatMap(({ segments }) => segments)].map(idOf));
  const left = new Set(after.segments.map(idOf));
  const rest = before.segments.filter(({ segmentId }) => !left.has(segmentId));
  if (rest.length > 0) tally.count("compacted segments swapped in");
  if (after.staged.length > before.staged.length) {
    tally.count("compacted segments staged");
    const { segments } = after.staged.at(-1)!;
    if (segments.some(({ clusteredBy }) => clusteredBy !== undefined))
      tally.count("segments clustered", segments.length);
  }
  tally.count("segment flushed", after.segments.filter((segment) => !known.has(idOf(segment))).length);
  if (after.deltas.length > before.deltas.length) tally.count("delta written");
  if (after.deltas.length < before.deltas.length) tally.count("deltas distributed");
  const indexes = (manifest: ManifestDoc) =>
    [...manifest.segments, ...manifest.staged.flatMap(({ segments }) => segments)].flatMap((segment) =>
      Object.keys(segment.indexes).map(() => segment.segmentId),
    );
  if (indexes(after).length > indexes(before).length) tally.count("index entered");
}

function idOf({ segmentId }: { segmentId: string }): string {
  return segmentId;
}

function requireStored(server: SimServer, key: string, { name, digest }: NamedObject, report: Report): void {
  const stored = server.blobs.objects.get(name);
  if (stored === undefined) report(`${key} names object ${name}, which is not there`);
  else if (stored.digest !== digest) report(`${key} names object ${name} with another digest than it was stored with`);
}

/** Every object that a document refers to, wherever it stands in it. */
function namedIn(doc: unknown): NamedObject[] {
  if (typeof doc !== "object" || doc === null) return [];
  if (Array.isArray(doc)) return doc.flatMap(namedIn);
  const { name, digest } = doc as Partial<NamedObject>;
  if (typeof name === "string" && typeof digest === "string") return [{ name, digest }];
  return Object.values(doc).flatMap(namedIn);
}

function keysOf(ops: Commit["ops"]): string {
  return ops.map(({ key }) => key).join(", ");
}
