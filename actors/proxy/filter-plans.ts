/** Plans of the filters used lately: most clients send the same few texts again and again. */
import { VdbError } from "../../runtime/errors.ts";
import { type FilterPlan, planFilter } from "../../runtime/expr/plan.ts";
import type { CollectionDoc } from "../../runtime/protocol/catalog.ts";
import { toJson } from "../../runtime/protocol/public-codec.ts";

const PLANS_MAX = 256;

/** Longer filters (lists of keys) hardly come twice, and would keep much alive. */
const KEY_CHARS_MAX = 4096;

export interface FilterText {
  text: string;
  templateValues?: Record<string, unknown> | undefined;
  purpose: "query" | "delete";
}

export class FilterPlans {
  // A Map keeps insertion order: the first key is the one not used for longest.
  readonly #plans = new Map<string, FilterPlan>();

  /** Null for the blank filter of queries: all rows. @throws VdbError invalid_parameter */
  plan(collection: CollectionDoc, filter: FilterText): FilterPlan | null {
    const { text, templateValues = {}, purpose } = filter;
    if (text.trim() === "" && purpose === "query") return null;
    const { collectionId, schema } = collection;
    const key = keyOf([collectionId, schema.version, purpose, text, templateValues]);
    const known = this.#plans.get(key);
    this.#plans.delete(key);
    const plan = known ?? planFilter(text, schema, { templateValues, purpose });
    if (key.length <= KEY_CHARS_MAX) this.#plans.set(key, plan);
    if (this.#plans.size > PLANS_MAX) {
      const [oldest] = this.#plans.keys();
      this.#plans.delete(oldest!);
    }
    return plan;
  }
}

/** @throws VdbError invalid_parameter when a value is nested so deep that it cannot be written; lists of lists are no values anyway */
function keyOf(parts: readonly unknown[]): string {
  try {
    return toJson(parts);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    throw new VdbError("invalid_parameter", "exprParams: a value is nested too deeply", { cause: error });
  }
}
