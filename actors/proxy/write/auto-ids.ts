/** Primary keys for collections that make their own: ranges from the coordinator, given out in ascending order. */
import type { ActorContext } from "../../../runtime/actor.ts";
import type { Call } from "../../../runtime/bus/bus.ts";
import { allocateIds } from "../../../runtime/protocol/coordinator.ts";
import { askCoordinator } from "../ask-coordinator.ts";

/** Ids asked for at a time: a restart wastes what is left of one range, an insert of a row seldom waits for one. */
const RANGE_IDS = 10_000;

export class AutoIds {
  readonly #actor: ActorContext;
  #next = 0;
  #end = 0;

  constructor(actor: ActorContext) {
    this.#actor = actor;
  }

  /** The first of count consecutive ids. */
  async take(count: number, call: Call): Promise<number> {
    if (this.#next + count > this.#end) {
      const size = Math.max(RANGE_IDS, count);
      const { first } = await askCoordinator(this.#actor, allocateIds, { count: size }, call);
      // Somebody else may have brought a larger range meanwhile; this one then serves this call alone.
      if (this.#end - this.#next >= size - count) return first;
      this.#next = first;
      this.#end = first + size;
    }
    const first = this.#next;
    this.#next += count;
    return first;
  }
}
