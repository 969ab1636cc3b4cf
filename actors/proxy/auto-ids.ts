/** Primary keys for collections that make their own: ranges from the coordinator, given out in ascending order. */
import type { ActorContext } from "../../runtime/actor.ts";
import type { Call } from "../../runtime/bus/bus.ts";
import { allocateIds } from "../../runtime/protocol/coordinator.ts";
import type { FieldSchema } from "../../runtime/schema.ts";
import { type KeyColumn, varcharColumn } from "../../runtime/segment/keys.ts";
import { askCoordinator } from "./ask-coordinator.ts";

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

/** Consecutive ids as keys: numbers, or their decimal text. */
export function keysFrom(first: number, count: number, field: FieldSchema): KeyColumn {
  if (field.type !== "Int64") return varcharColumn(Array.from({ length: count }, (_, i) => String(first + i)));
  const values = new BigInt64Array(count);
  for (let i = 0; i < count; i++) values[i] = BigInt(first + i);
  return { kind: "int64", values };
}
