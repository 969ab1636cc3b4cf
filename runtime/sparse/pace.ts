/** Turns for loops over postings, counted by the work done: reading the clock costs more than a posting. */
import type { Clock } from "../clock.ts";
import { VdbError } from "../errors.ts";
import { takeTurn } from "../turns.ts";

/** Postings, or as much other work, between two looks at the clock: some tenths of a millisecond. */
const WORK_A_LOOK = 32_768;

export class Pace {
  readonly #clock: Clock;
  readonly #deadline: number;
  #work = WORK_A_LOOK;

  /** @param deadline by the monotonic clock */
  constructor(clock: Clock, deadline = Number.POSITIVE_INFINITY) {
    this.#clock = clock;
    this.#deadline = deadline;
  }

  /** Counts work done; true: `turn` is due. */
  isDue(work: number): boolean {
    this.#work += work;
    return this.#work >= WORK_A_LOOK;
  }

  /** @throws VdbError deadline_exceeded */
  async turn(): Promise<void> {
    this.#work = 0;
    await takeTurn(this.#clock);
    if (this.#clock.monotonic() >= this.#deadline) {
      throw new VdbError("deadline_exceeded", "the search was not over at its deadline");
    }
  }
}
