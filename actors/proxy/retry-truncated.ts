/**
 * A request that met a truncation: some of its shards are gone, others may have answered. It is repeated as a whole on
 * the new shards. So a read is never half before and half after the truncation, and a write whose first parts went to
 * old shards is wholly after it.
 */
import type { ActorContext } from "../../runtime/actor.ts";
import { isVdbError } from "../../runtime/errors.ts";

/** More in a row mean that somebody truncates all the time. */
const ATTEMPTS_MAX = 10;

/** The request must be one that may be done again. @throws VdbError collection_truncated when it does not end */
export async function retryTruncated<T>(actor: ActorContext, deadline: number, request: () => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await request();
    } catch (error) {
      const isLast = attempt === ATTEMPTS_MAX || actor.clock.monotonic() >= deadline;
      if (isLast || !isVdbError(error, "collection_truncated")) throw error;
    }
  }
}
