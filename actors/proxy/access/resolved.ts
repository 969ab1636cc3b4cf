/**
 * A call is admitted by the name in it, and its collection is looked up later: an alias may have been re-pointed
 * meanwhile. So the caller's rights are checked again for what is found under the name.
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
