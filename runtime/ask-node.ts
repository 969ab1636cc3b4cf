/** Asking one node: an ask that is under way when the node's lease ends is given up, since no answer can come. */
import type { Role } from "./actor.ts";
import { isVdbError, VdbError } from "./errors.ts";
import type { NodeRegistry } from "./node-registry.ts";

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
