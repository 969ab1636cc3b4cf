/**
 * What the next owner of a channel would have to replay: the log after the checkpoint, measured by what its replay
 * costs.
 *
 * The cost is in bytes of payload, with what a row and a message cost beside theirs counted as bytes too (measured with
 * bench/replay.ts), so that one bound holds the time of a recovery for large vectors, tiny rows and single deletes alike.
 */

/** Of a row: finding its place in the key index, its timestamp. */
const ROW_COST = 48;
/** Of a message: its delivery, checks and decoding. */
const MESSAGE_COST = 6_144;

/** The log is remembered in steps; a step is as exact as the answers are. */
const STEPS = 256;

export class ReplayDebt {
  readonly #stepCost: number;
  /** Ascending: the cost of everything up to and including seq. */
  readonly #steps: { seq: number; total: number }[] = [];
  #total = 0;
  /** The cost of everything up to the checkpoint. */
  #paid = 0;
  #newestSeq = 0;

  /** limit: the debt that is to be watched, in bytes. */
  constructor(limit: number) {
    this.#stepCost = limit / STEPS;
  }

  /** A message that was stored (or replayed), in the order of the log. */
  add(seq: number, bytes: number, rows: number): void {
    this.#total += bytes + rows * ROW_COST + MESSAGE_COST;
    this.#newestSeq = seq;
    const last = this.#steps.at(-1);
    const before = this.#steps.at(-2)?.total ?? this.#paid;
    if (last !== undefined && this.#total - before < this.#stepCost) {
      last.seq = seq;
      last.total = this.#total;
    } else this.#steps.push({ seq, total: this.#total });
  }

  /** Everything up to seq is in objects. */
  pay(seq: number): void {
    if (seq >= this.#newestSeq) this.#paid = this.#total;
    let paid = 0;
    while (paid < this.#steps.length && this.#steps[paid]!.seq <= seq) {
      this.#paid = Math.max(this.#paid, this.#steps[paid]!.total);
      paid++;
    }
    this.#steps.splice(0, paid);
  }

  /** Never too low; too high by a step at most. */
  get cost(): number {
    return this.#total - this.#paid;
  }

  /** How far the log must be in objects for the debt to be no more than `cost`: what begins at or before it is in the way. */
  seqToPay(cost: number): number {
    for (const { seq, total } of this.#steps) if (this.#total - total <= cost) return seq;
    return this.#newestSeq;
  }
}
