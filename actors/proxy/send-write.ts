/** The last step of a write: what functions make of the rows, then the shards, then the session. */
import type { Call } from "../../runtime/bus/bus.ts";
import { VdbError } from "../../runtime/errors.ts";
import type { CollectionDoc } from "../../runtime/protocol/catalog.ts";
import { withFunctionOutputs } from "../../runtime/sparse/function-outputs.ts";
import type { ProxyContext } from "./context.ts";
import { routeWrite, type Write } from "./route-writes.ts";

/** The timestamp of the newest part. @throws VdbError as routeWrite */
export async function sendWrite(
  proxy: ProxyContext,
  collection: CollectionDoc,
  write: Write,
  call: Call,
): Promise<bigint> {
  const batch = write.batch && (await withFunctionOutputs(collection.schema, write.batch, proxy.actor.clock));
  const ts = await routeWrite(proxy.actor, collection, batch === undefined ? write : { ...write, batch }, call);
  proxy.sessions.note(collection.collectionId, ts);
  return ts;
}

/** A failure that names the ids made for the rows: whoever sends them again gives these again. */
export function withFirstId(error: unknown, firstId: number): unknown {
  if (!(error instanceof VdbError)) return error;
  return new VdbError(error.kind, error.message, { details: { ...error.details, firstId }, cause: error });
}
