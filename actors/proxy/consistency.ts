/** Consistency levels, as what a shard is asked for. */
import { VdbError } from "../../runtime/errors.ts";
import type { CollectionDoc } from "../../runtime/protocol/catalog.ts";
import type { Freshness } from "../../runtime/protocol/values.ts";
import type { Sessions } from "./sessions.ts";

export type ConsistencyLevel = CollectionDoc["consistencyLevel"];

const LEVELS: readonly ConsistencyLevel[] = ["Strong", "Session", "Bounded", "Eventually"];

/** Undefined when nothing was said. @throws VdbError invalid_parameter */
export function consistencyLevelOf(given: unknown): ConsistencyLevel | undefined {
  if (given === undefined || given === "") return undefined;
  const level = LEVELS.find((name) => name === given);
  if (level !== undefined) return level;
  throw new VdbError(
    "invalid_parameter",
    `parameter:'${String(given)}' is incorrect, consistencyLevel can only be one of [${LEVELS.join(", ")}]`,
  );
}

/** A read of at least the writes up to the request's guaranteeTimestamp; a collection cannot have it as its own. */
const CUSTOMIZED = "Customized";

/**
 * How fresh a read must be: as the request says, else as the collection does. A session that names no timestamp is
 * that of this proxy: it sees everything this proxy has acknowledged.
 * @throws VdbError invalid_parameter
 */
export function freshnessOf(
  collection: CollectionDoc,
  sessions: Sessions,
  request: { consistencyLevel?: string | undefined; guaranteeTimestamp?: unknown },
): Freshness {
  if (request.consistencyLevel === CUSTOMIZED) {
    const ts = timestampOf(request.guaranteeTimestamp);
    if (ts !== undefined) return { level: "session", ts };
    throw new VdbError("invalid_parameter", `consistencyLevel ${CUSTOMIZED} needs guaranteeTimestamp`);
  }
  switch (consistencyLevelOf(request.consistencyLevel) ?? collection.consistencyLevel) {
    case "Strong":
      return { level: "strong" };
    case "Bounded":
      return { level: "bounded" };
    case "Eventually":
      return { level: "eventually" };
    case "Session": {
      const ts = timestampOf(request.guaranteeTimestamp) ?? sessions.lastWrite(collection.collectionId);
      return ts === undefined ? { level: "eventually" } : { level: "session", ts };
    }
  }
}

/** Undefined when none is given. @throws VdbError invalid_parameter */
export function timestampOf(given: unknown): bigint | undefined {
  if (given === undefined || given === null) return undefined;
  if (typeof given === "bigint" || (typeof given === "number" && Number.isSafeInteger(given))) return BigInt(given);
  if (typeof given === "string" && /^\d{1,20}$/.test(given)) return BigInt(given);
  throw new VdbError("invalid_parameter", `guaranteeTimestamp must be an integer, got ${JSON.stringify(given)}`);
}
