/**
 * Versions of what nodes say to each other. A message says which one it takes: the first, but for those with something in
 * them that older nodes would misread or leave out in silence, whose operations say so (`takes`). So a version and the next
 * run side by side, and only what an older node cannot do is refused by it, in words. Fields that may be left out without
 * harm need no version.
 *
 *   2  filters on geometries; dense vectors that are null; segments laid out by a clustering key
 */
import type { FilterPlan } from "../expr/plan.ts";
import type { VectorSearch } from "./values.ts";

/** What this node knows. Raised when an older one would misread a message; then that message's operation says so. */
export const PROTOCOL_VERSION = 2;

/** What a request takes by what of it is in use. */
export function taking(isNeeded: boolean | undefined, version: number): number {
  return isNeeded === true ? version : 1;
}

export function takenByFilter(filter: FilterPlan | null | undefined): number {
  return filter?.version ?? 1;
}

export function takenBySearch({ boost }: VectorSearch, filter: FilterPlan | null): number {
  const functions = boost?.functions ?? [];
  return Math.max(takenByFilter(filter), ...functions.map((each) => takenByFilter(each.filter)));
}
