/** When a node with every role can be used: somebody leads, every channel is open, loaded collections can be read. */
import { VdbError } from "../errors.ts";
import type { VdbNode } from "../node.ts";
import { allocateTimestamps } from "../protocol/coordinator.ts";
import { errorOfBody, listCollections, queryEntities } from "../protocol/public.ts";
import { systemClock } from "../system-clock.ts";

/** What a node observes of itself is a function call away and no event tells of it; starting takes a second or so. */
const LOOK_MS = 25;

const LOOK_AGAIN_MS = 500;

/** @throws VdbError not_ready that says what is missing; what the node failed with */
export async function waitUntilUsable(node: VdbNode, timeoutMs: number): Promise<void> {
  const deadline = systemClock.monotonic() + timeoutMs;
  const hasFailed = { error: undefined as Error | undefined };
  void node.failed.then((error) => {
    hasFailed.error = error;
  });
  for (;;) {
    const missing = whatIsMissing(node.observe());
    if (missing === undefined) break;
    if (hasFailed.error !== undefined) throw hasFailed.error;
    if (systemClock.monotonic() >= deadline) throw new VdbError("not_ready", `after ${timeoutMs} ms ${missing}`);
    await systemClock.sleep(LOOK_MS);
  }
  await node.bus.ask(allocateTimestamps, {}, { count: 1 }, { deadline });
  const { data } = await node.bus.ask(listCollections, {}, {}, { deadline });
  await Promise.all((data as string[]).map((name) => untilReadable(node, name, deadline)));
}

/** A collection that was loaded before a restart can be read again once its segments are. Others are let be. */
async function untilReadable(node: VdbNode, collectionName: string, deadline: number): Promise<void> {
  const body = { collectionName, limit: 1, consistencyLevel: "Eventually" };
  for (;;) {
    const reply = await node.bus.ask(queryEntities, {}, body, { deadline });
    const error = errorOfBody(reply);
    if (error === null || !error.retriable || systemClock.monotonic() >= deadline) return;
    await systemClock.sleep(LOOK_AGAIN_MS);
  }
}

function whatIsMissing(observed: Record<string, Record<string, unknown>>): string | undefined {
  if (observed.coordinator?.isLeading !== true) return "no coordinator leads";
  const channels = (observed.streaming?.channels ?? []) as { pchannel: number; isOpen: boolean }[];
  // All are assigned in one step, so those that are here are all there are.
  if (channels.length === 0) return "no log channel is assigned";
  const closed = channels.filter(({ isOpen }) => !isOpen).map(({ pchannel }) => pchannel);
  return closed.length === 0 ? undefined : `log channel ${closed.join(", ")} is not open`;
}
