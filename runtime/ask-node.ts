/** Asks one node. When the node's lease ends meanwhile, the ask is given up, since no answer can come. */
import type { Role } from "./actor.ts";
import { askUntil } from "./ask-until.ts";
import type { Bus } from "./bus/bus.ts";
import type { Clock } from "./clock.ts";
import { isVdbError, VdbError } from "./errors.ts";
import type { NodeRegistry } from "./node-registry.ts";
import type { Operation, SubjectParams } from "./protocol/operation.ts";
import type { StopSignal } from "./stop.ts";

/** Doubled with each ask for the same job. */
const FIRST_PATIENCE_MS = 15_000;

/** Timers may ring a little before their time by the monotonic clock. */
const EARLY_MS = 50;

/** @param signal gives the ask up for other reasons. @throws VdbError node_not_found when the node is gone; what the ask throws */
export function askNode<T>(
  nodes: NodeRegistry,
  node: { role: Role; nodeId: string },
  signal: StopSignal | undefined,
  ask: (signal: StopSignal) => Promise<T>,
): Promise<T> {
  const { role, nodeId } = node;
  return askUntil(
    {
      watch: (giveUp) =>
        nodes.subscribe((changed) => {
          if (changed === role && !nodes.has(role, nodeId)) giveUp();
        }),
      gone: (cause) => new VdbError("node_not_found", `${role} node ${nodeId} is gone`, { cause }),
    },
    signal,
    ask,
  );
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
        const isUnanswered = isVdbError(error, "deadline_exceeded") && clock.monotonic() >= deadline - EARLY_MS;
        if (!isUnanswered || deadline === end) throw error;
      }
    }
  });
}
