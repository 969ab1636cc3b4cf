/** Asks the active coordinator, whoever it is: a failover is waited out until the call's deadline. */
import type { ActorContext } from "../../runtime/actor.ts";
import { askLeader } from "../../runtime/ask-leader.ts";
import type { Call } from "../../runtime/bus/bus.ts";
import type { Operation } from "../../runtime/protocol/operation.ts";
import { attemptDeadline, backOff } from "./backoff.ts";

/** The operation must be idempotent. @throws VdbError what the coordinator says; the last failure when the deadline comes first */
export async function askCoordinator<Request, Reply>(
  actor: ActorContext,
  operation: Operation<`coordinator.${string}`, Request, Reply>,
  request: Request,
  call: Call,
): Promise<Reply> {
  for (let attempt = 0; ; attempt++) {
    try {
      const deadline = attemptDeadline(actor, operation.timeoutMs, call);
      return await askLeader(actor, operation, request, {
        deadline,
        ...(call.signal === undefined ? {} : { signal: call.signal }),
      });
    } catch (error) {
      await backOff(actor, error, attempt, call);
    }
  }
}

/** A change of the catalogue; answers once this node sees it, so that what the client asks next does too. */
export async function changeCatalog<Request, Reply extends { revision: number }>(
  actor: ActorContext,
  operation: Operation<`coordinator.${string}`, Request, Reply>,
  request: Request,
  call: Call,
): Promise<Reply> {
  const reply = await askCoordinator(actor, operation, request, call);
  await actor.catalog.cache.waitFor(reply.revision, call.deadline);
  return reply;
}
