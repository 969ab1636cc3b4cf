/**
 * A call is admitted for the name that it says, and its collection is looked up later: an alias may have been re-pointed
 * meanwhile. So what is found under the name is held against the caller's rights again.
 */
import type { Call } from "../../../runtime/bus/bus.ts";
import type { CollectionDoc } from "../../../runtime/protocol/catalog.ts";

type Check = (collection: CollectionDoc) => void;

/** Of calls of collections by callers with rights of their own. */
const checks = new WeakMap<Call, Check>();

export function checkResolved(call: Call, check: Check): void {
  checks.set(call, check);
}

/** @throws VdbError not_permitted */
export function resolvedFor(call: Call, collection: CollectionDoc): CollectionDoc {
  checks.get(call)?.(collection);
  return collection;
}
