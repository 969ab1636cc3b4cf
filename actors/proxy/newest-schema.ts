/**
 * A proxy learns of a schema change from a watch, which may be late. So a request is refused for what the schema says
 * only when the store says the same; and rows that a shard's owner finds to be of an older schema are made again.
 */
import type { ActorContext } from "../../runtime/actor.ts";
import type { Call } from "../../runtime/bus/bus.ts";
import { type ErrorKind, isVdbError } from "../../runtime/errors.ts";
import { textOf } from "./parse-body.ts";
import { databaseName } from "./resolve.ts";

/** Of a request whose fields are not those that this node knows: said before anything is stored. */
const REFUSALS: ErrorKind[] = [
  ...(["invalid_insert_data", "invalid_primary_key", "invalid_parameter", "field_not_found"] as const),
  // Said by the shards' owners: its name may be that of another partition by now.
  "partition_not_found",
  // So is this: its name may be that of another collection by now.
  "collection_not_found",
  // And this, of a read: a field that it names may be gone, or another one.
  "schema_mismatch",
];

/** More in a row mean that somebody changes the schema all the time. */
const ATTEMPTS_MAX = 5;

/** Handles a request; a second time when it was refused by a document of its collection that was not the newest. */
export async function refuseByNewest<T>(
  { catalog }: ActorContext,
  body: unknown,
  call: Call,
  handle: () => Promise<T>,
): Promise<T> {
  const collectionName = textOf(body, "collectionName");
  if (collectionName === undefined) return handle();
  const database = databaseName(textOf(body, "dbName"));
  const known = catalog.collectionByName(database, collectionName);
  try {
    return await handle();
  } catch (error) {
    if (known === undefined || !isVdbError(error, ...REFUSALS)) throw error;
    await catalog.cache.sync(call.deadline);
    if (catalog.collectionByName(database, collectionName) === known) throw error;
    return handle();
  }
}

interface RepeatableWrite {
  dbName?: string | undefined;
  collectionName: string;
  requestId?: string | undefined;
  firstId?: number | undefined;
}

/**
 * Writes, and makes the rows anew when they were of an older schema. It stays one request, with the ids that it has got:
 * the shards that took their part the first time find it done.
 */
export async function writeByNewest<Request extends RepeatableWrite, T>(
  { catalog }: ActorContext,
  given: Request & { requestId: string },
  call: Call,
  write: (request: Request) => Promise<T>,
): Promise<T> {
  let request: Request = given;
  const { collectionName } = given;
  const database = databaseName(given.dbName);
  for (let attempt = 1; ; attempt++) {
    const known = catalog.collectionByName(database, collectionName);
    try {
      return await write(request);
    } catch (error) {
      if (attempt === ATTEMPTS_MAX || !isVdbError(error, "schema_mismatch")) throw error;
      await catalog.cache.sync(call.deadline);
      // The rows are of the newest schema but for what the client says of them, and that stays.
      if (catalog.collectionByName(database, collectionName) === known) throw error;
      const firstId = error.details?.firstId;
      if (typeof firstId === "number") request = { ...request, firstId };
    }
  }
}
