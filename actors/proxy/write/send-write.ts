/**
 * The last step of a write: computes what functions make of the rows, sends the parts to the shards, notes the write
 * for the session.
 */
import type { Call } from "../../../runtime/bus/bus.ts";
import { VdbError } from "../../../runtime/errors.ts";
import type { CollectionDoc } from "../../../runtime/protocol/catalog.ts";
import { withFunctionOutputs } from "../../../runtime/sparse/function-outputs.ts";
import type { ProxyContext } from "../context.ts";
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

/** The failure, with the ids made for the rows added: a client that repeats the request sends them along. */
export function withFirstId(error: unknown, firstId: number): unknown {
  if (!(error instanceof VdbError)) return error;
  return new VdbError(error.kind, error.message, { details: { ...error.details, firstId }, cause: error });
}
