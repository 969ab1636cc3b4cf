/** What tests of the log share: entries, timestamps, writers, and the log as a list. */
import type { LogPort } from "../log/port.ts";
import { replay } from "../log/reader.ts";
import type { LogEntryBody, LogRecord } from "../log/record.ts";
import type { ChainState } from "../log/verify.ts";
import { type LogWriter, openWriter, type WriterOptions } from "../log/writer.ts";
import { systemClock, systemRandom } from "../system-clock.ts";

export function insertOf(requestId: string, rowCount = 1): LogEntryBody {
  const columns = { 100: { kind: "int64" as const, values: new BigInt64Array(rowCount) } };
  return { ...deleteOf(requestId), operation: "insert", batch: { rowCount, columns } };
}

export function deleteOf(requestId: string): LogEntryBody {
  return { vchannel: "0_1v0", requestId, operation: "delete", partitionId: 1, schemaVersion: 1 };
}

/** A source of timestamps shared by all owners, as the coordinator is. */
export function timestampSource(start = 1n): (count: number) => Promise<bigint> {
  let next = start;
  return (count) => {
    const first = next;
    next += BigInt(count);
    return Promise.resolve(first);
  };
}

export type WriterSettings = Pick<WriterOptions, "log" | "term" | "timestamps"> & Partial<WriterOptions>;

/** Opens a writer of channel 0, replays the whole log, and resumes. */
export async function openResumedWriter(settings: WriterSettings): Promise<LogWriter> {
  const writer = await openWriter({
    channel: 0,
    nodeId: `node-${settings.term}`,
    clock: systemClock,
    random: systemRandom,
    signal: new AbortController().signal,
    onCommitted: () => undefined,
    ...settings,
  });
  const { firstSeq } = await settings.log.bounds(0);
  writer.resume((await readRange(settings.log, firstSeq, writer.fenceSeq)).state);
  return writer;
}

export interface ReadLog {
  records: { record: LogRecord; seq: number }[];
  /** Of the entries, in order. */
  requestIds: string[];
  state: ChainState;
}

/** Everything that is stored in channel 0, verified. */
export async function readWholeLog(log: LogPort): Promise<ReadLog> {
  const { firstSeq, lastSeq } = await log.bounds(0);
  return readRange(log, firstSeq, lastSeq);
}

async function readRange(log: LogPort, fromSeq: number, toSeq: number): Promise<ReadLog> {
  const records: ReadLog["records"] = [];
  const onRecord = (record: LogRecord, seq: number): void => {
    records.push({ record, seq });
  };
  const signal = new AbortController().signal;
  const state = await replay(log, 0, { fromSeq, toSeq, onRecord, clock: systemClock, signal });
  const requestIds = records.flatMap(({ record }) => record.entries.map((entry) => entry.requestId));
  return { records, requestIds, state };
}

/** A deadline that no test reaches. */
export function noDeadline(): number {
  return systemClock.monotonic() + 600_000;
}
