/**
 * Appends that wait for their turn: one queue for each kind, bounded together, taken out in groups of one kind.
 *
 * An append stays counted until it is released, in the queue or taken: the bound is on what callers wait for.
 */
import { VdbError } from "../errors.ts";
import { type EncodedBody, type LogEntryBody, recordBytes } from "./record.ts";

export type AppendKind = "ins" | "mut";

export interface PendingAppend extends EncodedBody {
  body: LogEntryBody;
  /** clock.monotonic() milliseconds. */
  deadline: number;
  resolve: (stored: { seq: number; ts: bigint }) => void;
  reject: (error: Error) => void;
}

export interface AppendGroup {
  kind: AppendKind;
  appends: PendingAppend[];
}

/** With more waiting, appends would take longer than callers wait, so they are refused at once. */
const QUEUE_BYTES_MAX = 64 << 20;
const QUEUE_COUNT_MAX = 50_000;
/** From 256 KiB on the disk is saturated; more than 1 MiB only makes each append wait longer. */
const GROUP_BYTES_MAX = 1 << 20;
const GROUP_COUNT_MAX = 2_000;

export class AppendQueue {
  readonly #waiting: Record<AppendKind, PendingAppend[]> = { ins: [], mut: [] };
  #lastTaken: AppendKind = "mut";
  #bytes = 0;
  #count = 0;

  /** @throws VdbError rate_limited when the queue is full */
  push(kind: AppendKind, append: PendingAppend): void {
    if (this.#count >= QUEUE_COUNT_MAX || this.#bytes + append.bytes.length > QUEUE_BYTES_MAX) {
      throw new VdbError("rate_limited", `${this.#count} appends (${this.#bytes} bytes) wait already, try again later`);
    }
    this.#count++;
    this.#bytes += append.bytes.length;
    this.#waiting[kind].push(append);
  }

  /**
   * The next group, of the kind whose turn it is; null when nothing waits. One append of any size, or several within the
   * group's bounds whose message has at most `messageBytesMax`.
   */
  take(messageBytesMax: number): AppendGroup | null {
    const other: AppendKind = this.#lastTaken === "ins" ? "mut" : "ins";
    const kind = this.#waiting[other].length > 0 ? other : this.#lastTaken;
    const waiting = this.#waiting[kind];
    if (waiting.length === 0) return null;
    const bytesMax = Math.min(GROUP_BYTES_MAX, messageBytesMax);
    let bytes = waiting[0]!.bytes.length;
    let count = 1;
    while (count < waiting.length && count < GROUP_COUNT_MAX) {
      bytes += waiting[count]!.bytes.length;
      if (recordBytes(count + 1, bytes) > bytesMax) break;
      count++;
    }
    this.#lastTaken = kind;
    return { kind, appends: waiting.splice(0, count) };
  }

  /** Puts a group that was not sent back in front. */
  putBack(group: AppendGroup): void {
    this.#waiting[group.kind].unshift(...group.appends);
  }

  /** Uncounts appends that were taken and are finished. */
  release(appends: PendingAppend[]): void {
    this.#count -= appends.length;
    for (const append of appends) this.#bytes -= append.bytes.length;
  }

  /** Takes out and releases waiting appends whose deadline has passed. */
  takeExpired(nowMs: number): PendingAppend[] {
    const expired: PendingAppend[] = [];
    for (const kind of ["ins", "mut"] as const) {
      const waiting = this.#waiting[kind];
      if (!waiting.some((append) => append.deadline <= nowMs)) continue;
      expired.push(...waiting.filter((append) => append.deadline <= nowMs));
      this.#waiting[kind] = waiting.filter((append) => append.deadline > nowMs);
    }
    this.release(expired);
    return expired;
  }

  /** Takes out and releases all waiting appends. */
  takeAll(): PendingAppend[] {
    const all = [...this.#waiting.ins.splice(0), ...this.#waiting.mut.splice(0)];
    this.release(all);
    return all;
  }
}
