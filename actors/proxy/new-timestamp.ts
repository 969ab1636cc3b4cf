/** A timestamp of now, for reads that are to see one snapshot in several requests. */
import { askLeader } from "../../runtime/ask-leader.ts";
import type { Call } from "../../runtime/bus/bus.ts";
import { allocateTimestamps } from "../../runtime/protocol/coordinator.ts";
import type { ProxyContext } from "./context.ts";

export async function newTimestamp({ actor }: Pick<ProxyContext, "actor">, call: Call): Promise<bigint> {
  const options = { deadline: call.deadline, ...(call.signal === undefined ? {} : { signal: call.signal }) };
  return (await askLeader(actor, allocateTimestamps, { count: 1 }, options)).first;
}
