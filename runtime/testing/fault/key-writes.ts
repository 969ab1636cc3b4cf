/**
 * The writes of one key, and what can be said for certain about their order.
 *
 * A write took effect at some moment between its start and `certainBy`: its answer, or the end of the first read that
 * saw it, whichever came first; for ever open when neither happened. Write a certainly precedes b when
 * a.certainBy < b.start. Everything here concludes from such certainties only, so a correct database is never accused.
 */
import type { WriteOperation } from "./history.ts";

export interface KeyWrite {
  readonly operation: WriteOperation;
  /** Null: a delete. */
  readonly version: number | null;
  certainBy: number;
}

export type WritesByKey = ReadonlyMap<number, KeyWrites>;

/** The newest start among the writes that were certain before a moment; and who that was. */
interface Certain {
  readonly by: Float64Array;
  readonly latest: readonly KeyWrite[];
}

export class KeyWrites {
  readonly #writes: readonly KeyWrite[];
  readonly #byVersion = new Map<number, KeyWrite>();
  readonly #deletes: readonly KeyWrite[];
  #certain: Certain | undefined;
  #certainOfClient = new Map<number, Certain>();

  /** @param operations writes of the key that were not refused, each once */
  constructor(key: number, operations: readonly WriteOperation[]) {
    this.#writes = operations.map((operation) => ({
      operation,
      version: operation.kind === "delete" ? null : operation.rows.find((row) => row.key === key)!.version,
      certainBy: operation.outcome === "ok" ? operation.end : Number.POSITIVE_INFINITY,
    }));
    for (const write of this.#writes) if (write.version !== null) this.#byVersion.set(write.version, write);
    this.#deletes = this.#writes.filter(({ version }) => version === null);
  }

  get all(): readonly KeyWrite[] {
    return this.#writes;
  }

  get deletes(): readonly KeyWrite[] {
    return this.#deletes;
  }

  writeOf(version: number): KeyWrite | undefined {
    return this.#byVersion.get(version);
  }

  /** A read that ended at `end` saw it. Before any question is asked. */
  saw(version: number, end: number): void {
    const write = this.#byVersion.get(version);
    if (write !== undefined && end < write.certainBy) write.certainBy = end;
  }

  /** Of the writes that were certain before `moment`, the one that started last: all that certainly precede it are overwritten. */
  newestCertain(moment: number): KeyWrite | undefined {
    this.#certain ??= certainOf(this.#writes);
    return newest(this.#certain, moment);
  }

  /** The same of what one client was told. */
  newestOwn(client: number, moment: number): KeyWrite | undefined {
    let certain = this.#certainOfClient.get(client);
    if (certain === undefined) {
      const own = this.#writes
        .filter(({ operation }) => operation.client === client && operation.outcome === "ok")
        .map((write) => ({ ...write, certainBy: write.operation.end }));
      certain = certainOf(own);
      this.#certainOfClient.set(client, certain);
    }
    return newest(certain, moment);
  }

  /** Deletes that can be why a read that ended at `end` found nothing, though `newest` was certain when it began. */
  deletesThatExplain(end: number, newest: KeyWrite | undefined): KeyWrite[] {
    const after = newest?.operation.start ?? Number.NEGATIVE_INFINITY;
    return this.#deletes.filter(({ operation, certainBy }) => operation.start <= end && certainBy >= after);
  }

  canAbsenceBeExplained(end: number, newest: KeyWrite | undefined): boolean {
    const after = newest?.operation.start;
    if (after === undefined) return true;
    return this.#deletes.some(({ operation, certainBy }) => operation.start <= end && certainBy >= after);
  }
}

function certainOf(writes: readonly KeyWrite[]): Certain {
  const sorted = writes
    .filter(({ certainBy }) => certainBy !== Number.POSITIVE_INFINITY)
    .sort((a, b) => a.certainBy - b.certainBy);
  let latest: KeyWrite | undefined;
  return {
    by: Float64Array.from(sorted, ({ certainBy }) => certainBy),
    latest: sorted.map((write) => {
      if (latest === undefined || write.operation.start > latest.operation.start) latest = write;
      return latest;
    }),
  };
}

function newest({ by, latest }: Certain, moment: number): KeyWrite | undefined {
  let [low, high] = [0, by.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (by[middle]! < moment) low = middle + 1;
    else high = middle;
  }
  return latest[low - 1];
}
