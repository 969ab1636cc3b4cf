/**
 * What clients of a database saw, and what was done to it: the input of the checker (check-history.ts). Plain data, free
 * of clocks and processes, so a run of real processes and a simulated one are judged by the same code.
 *
 * Times are milliseconds of one monotonic clock. Keys are Int64 primary keys. Every write of a key gives it a version
 * that no other write of any key has, so what a read returns names the write that it saw.
 */

export type Level = "Strong" | "Session" | "Bounded" | "Eventually";

/** ok: answered. fail: refused, certainly not applied. info: nobody knows, it may still be applied. */
export type Outcome = "ok" | "fail" | "info";

interface Call {
  client: number;
  start: number;
  end: number;
  outcome: Outcome;
  /** What a call that is not ok ended with. */
  error?: string;
}

export interface RowVersion {
  key: number;
  version: number;
}

/** insert: of keys that nobody has written before. upsert: replaces. */
export interface PutOperation extends Call {
  kind: "insert" | "upsert";
  rows: readonly RowVersion[];
  /** The timestamp that the answer brought. */
  timestamp?: bigint;
}

export interface DeleteOperation extends Call {
  kind: "delete";
  /** Keys listed, or all keys that the filter can match. */
  keys: readonly number[];
  /** By a filter that lists no keys: deletes what a Strong read of these keys finds, so not all at once. */
  isFiltered: boolean;
  timestamp?: bigint;
}

export interface ReadOperation extends Call {
  kind: "get" | "query" | "search";
  level: Level;
  /** Keys that were asked for: one that is not in `found` was not there. Null: absence says nothing (a search's top k). */
  asked: readonly number[] | null;
  /** In the order of the answer; empty unless ok. */
  found: readonly RowVersion[];
}

/** A question whose right answer is known, because its rows never change; `problem` says how the answer differs. */
export interface StaticRead extends Call {
  kind: "static";
  level: Level;
  what: string;
  problem?: string;
}

/** count(*) beside a read of the very same rows, with no write going on. */
export interface CountOperation extends Call {
  kind: "count";
  count: number;
  distinctKeys: number;
}

/** flush, load: of no consequence for what reads may return. */
export interface OtherOperation extends Call {
  kind: "flush" | "load";
}

export type Operation = PutOperation | DeleteOperation | ReadOperation | StaticRead | CountOperation | OtherOperation;

export type WriteOperation = PutOperation | DeleteOperation;

/** Who was seen to act: a node as the owner of a channel under a term, or as the leader of an epoch. */
export type Observation =
  | { kind: "owner"; pchannel: number; term: number; nodeId: string; at?: number }
  | { kind: "leader"; epoch: number; nodeId: string; at?: number };

export interface FaultEvent {
  kind: "fault" | "healed";
  name: string;
  at: number;
}

export interface History {
  operations: Operation[];
  observations: Observation[];
  faults: FaultEvent[];
}

export function emptyHistory(): History {
  return { operations: [], observations: [], faults: [] };
}

export function isWrite(operation: Operation): operation is WriteOperation {
  return operation.kind === "insert" || operation.kind === "upsert" || operation.kind === "delete";
}

export function isRead(operation: Operation): operation is ReadOperation {
  return operation.kind === "get" || operation.kind === "query" || operation.kind === "search";
}

export function keysWritten(operation: WriteOperation): readonly number[] {
  return operation.kind === "delete" ? operation.keys : operation.rows.map(({ key }) => key);
}

/** Short, for messages: who did what, when. */
export function describe(operation: Operation): string {
  const level = "level" in operation ? `${operation.level} ` : "";
  const { client, kind, start, end, outcome } = operation;
  return `[${level}${kind} of client ${client}, ${start.toFixed(0)}..${end.toFixed(0)} ${outcome}]`;
}
