/** Plans of the filters used lately: most clients send the same few texts again and again. */
import { VdbError } from "../../runtime/errors.ts";
import { type FilterPlan, type IndexHint, planFilter } from "../../runtime/expr/plan.ts";
import type { CollectionDoc } from "../../runtime/protocol/catalog.ts";
import { toJson } from "../../runtime/protocol/public-codec.ts";
import type { Random } from "../../runtime/random.ts";
import { indexHints } from "../../runtime/scalar-index/definition.ts";

const PLANS_MAX = 256;

/** Longer filters (lists of keys) hardly come twice, and would keep much alive. */
const KEY_CHARS_MAX = 4096;

export interface FilterText {
  text: string;
  templateValues?: Record<string, unknown> | undefined;
  purpose: "query" | "delete";
}

export class FilterPlans {
  readonly #random: Random;
  readonly #zoneOf: (collection: CollectionDoc) => string;
  // A Map keeps insertion order: the first key is the one not used for longest.
  readonly #plans = new Map<string, FilterPlan>();

  /** @param zoneOf of times in filters that name no zone */
  constructor(random: Random, zoneOf: (collection: CollectionDoc) => string = ownZone) {
    this.#random = random;
    this.#zoneOf = zoneOf;
  }

  /** Null for the blank filter of queries: all rows. @throws VdbError invalid_parameter */
  plan(collection: CollectionDoc, filter: FilterText): FilterPlan | null {
    const { text, templateValues = {}, purpose } = filter;
    if (text.trim() === "" && purpose === "query") return null;
    const { collectionId, schema } = collection;
    const timeZone = this.#zoneOf(collection);
    const hints = hintsOf(collection);
    if (isLong(text, templateValues)) return this.#made(collection, filter, timeZone, hints);
    const key = keyOf([collectionId, schema.version, purpose, text, templateValues, timeZone, hints]);
    const known = this.#plans.get(key);
    this.#plans.delete(key);
    const plan = known ?? this.#made(collection, filter, timeZone, hints);
    // The same text asks for another sample each time.
    if (key.length <= KEY_CHARS_MAX && plan.sample === undefined) this.#plans.set(key, plan);
    if (this.#plans.size > PLANS_MAX) {
      const [oldest] = this.#plans.keys();
      this.#plans.delete(oldest!);
    }
    return plan;
  }

  #made({ schema }: CollectionDoc, filter: FilterText, timeZone: string, hints: IndexHint[]): FilterPlan {
    const { text, templateValues = {}, purpose } = filter;
    const seed = Math.floor(this.#random.next() * 2 ** 32);
    const plan = planFilter(text, schema, { templateValues, purpose, timeZone, seed });
    const indexes = hints.filter(({ fieldId }) => plan.fieldIds.includes(fieldId));
    return indexes.length === 0 ? plan : { ...plan, indexes };
  }
}

/** A document is never changed, only replaced. */
const knownHints = new WeakMap<CollectionDoc, IndexHint[]>();

function hintsOf(collection: CollectionDoc): IndexHint[] {
  let hints = knownHints.get(collection);
  if (hints === undefined) {
    hints = indexHints(collection.indexes, collection.schema);
    knownHints.set(collection, hints);
  }
  return hints;
}

function ownZone({ properties }: CollectionDoc): string {
  return properties.timezone ?? "UTC";
}

/** Whether a key would be too long: then it is not worth making. */
function isLong(text: string, templateValues: Readonly<Record<string, unknown>>): boolean {
  if (text.length > KEY_CHARS_MAX) return true;
  return Object.values(templateValues).some((value) => Array.isArray(value) && value.length > KEY_CHARS_MAX / 2);
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
