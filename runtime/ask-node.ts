/** Asking one node: an ask that is under way when the node's lease ends is given up, since no answer can come. */
import type { Role } from "./actor.ts";
import type { Bus } from "./bus/bus.ts";
import type { Clock } from "./clock.ts";
import { isVdbError, VdbError } from "./errors.ts";
import type { NodeRegistry } from "./node-registry.ts";
import type { Operation, SubjectParams } from "./protocol/operation.ts";

/** Doubled with each ask for the same job. */
const FIRST_PATIENCE_MS = 15_000;

/** @param signal gives the ask up for other reasons. @throws VdbError node_not_found when the node is gone; what the ask throws */
export async function askNode<T>(
  nodes: NodeRegistry,
  node: { role: Role; nodeId: string },
  signal: AbortSignal | undefined,
  ask: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  // One controller for both reasons: AbortSignal.any costs more than the rest of a short ask.
  const stop = new AbortController();
  let isGone = false;
  const onAbort = () => stop.abort();
  signal?.addEventListener("abort", onAbort, { once: true });
  if (signal?.aborted) stop.abort();
  using _watch = nodes.subscribe((role) => {
    if (role !== node.role || nodes.has(role, node.nodeId)) return;
    isGone = true;
    stop.abort();
  });
  try {
    return await ask(stop.signal);
  } catch (error) {
    if (!isGone || signal?.aborted || !isVdbError(error, "canceled")) throw error;
    throw new VdbError("node_not_found", `${node.role} node ${node.nodeId} is gone`, { cause: error });
  } finally {
    signal?.removeEventListener("abort", onAbort);
  }
}

/**
 * Asks one node for what may take long and is done once, however often it is asked for. A message can be lost with nobody
 * told, between servers of a NATS cluster: so it asks again, each time after twice as long, until the operation's time
 * limit. A loss costs no more than the time that had passed, and few asks wait at the node.
 *
 * @throws VdbError node_not_found when the node is gone; what the ask throws
 */
export function askForJob<Subject extends string, Request, Reply>(
  { bus, clock, nodes }: { bus: Pick<Bus, "ask">; clock: Pick<Clock, "monotonic">; nodes: NodeRegistry },
  { role, nodeId }: { role: Role; nodeId: string },
  signal: AbortSignal,
  operation: Operation<Subject, Request, Reply>,
  request: Request,
): Promise<Reply> {
  const end = clock.monotonic() + operation.timeoutMs;
  return askNode(nodes, { role, nodeId }, signal, async (given) => {
    for (let patience = FIRST_PATIENCE_MS; ; patience *= 2) {
      const deadline = Math.min(end, clock.monotonic() + patience);
      try {
        return await bus.ask(operation, { nodeId } as SubjectParams<Subject>, request, { signal: given, deadline });
      } catch (error) {
        const isUnanswered = isVdbError(error, "deadline_exceeded") && clock.monotonic() >= deadline;
        if (!isUnanswered || deadline === end) throw error;
      }
    }
  });
}
