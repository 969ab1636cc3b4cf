/** Asks of the active coordinator, whoever it is: a failover is waited out until the call's deadline. */
import type { ActorContext } from "../../runtime/actor.ts";
import type { Call } from "../../runtime/bus/bus.ts";
import { isVdbError, VdbError } from "../../runtime/errors.ts";
import { metaKeys } from "../../runtime/protocol/catalog.ts";
import type { Operation } from "../../runtime/protocol/operation.ts";
import { attemptDeadline, backOff } from "./backoff.ts";

/** The operation must be idempotent. @throws VdbError what the coordinator says; the last failure when the deadline comes first */
export async function askCoordinator<Request, Reply>(
  actor: ActorContext,
  operation: Operation<string, Request, Reply>,
  request: Request,
  call: Call,
): Promise<Reply> {
  for (let attempt = 0; ; attempt++) {
    try {
      return await askLeader(actor, operation, request, call);
    } catch (error) {
      await backOff(actor, error, attempt, call);
    }
  }
}

/** A leader that was replaced never answers: the next one's epoch is what tells us. */
async function askLeader<Request, Reply>(
  actor: ActorContext,
  operation: Operation<string, Request, Reply>,
  request: Request,
  call: Call,
): Promise<Reply> {
  const { bus, catalog } = actor;
  const replaced = new AbortController();
  using _epoch = catalog.cache.subscribe(metaKeys.epoch, () => replaced.abort());
  try {
    return await bus.ask(operation, {}, request, {
      deadline: attemptDeadline(actor, operation.timeoutMs, call),
      signal: call.signal === undefined ? replaced.signal : AbortSignal.any([call.signal, replaced.signal]),
    });
  } catch (error) {
    if (!replaced.signal.aborted || !isVdbError(error, "canceled") || call.signal?.aborted === true) throw error;
    throw new VdbError("not_ready", "the coordinator has changed", { cause: error });
  }
}

/** A change of the catalogue; answers once this node sees it, so that what the client asks next does too. */
export async function changeCatalog<Request, Reply extends { revision: number }>(
  actor: ActorContext,
  operation: Operation<string, Request, Reply>,
  request: Request,
  call: Call,
): Promise<Reply> {
  const reply = await askCoordinator(actor, operation, request, call);
  await actor.catalog.cache.waitFor(reply.revision, call.deadline);
  return reply;
}
