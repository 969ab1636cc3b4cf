/**
 * The life of a node's process, from its signal handlers to its exit code. The handlers are in place before anything
 * starts: in a container, as process 1, a signal without a handler would be ignored.
 */
import { asVdbError } from "../errors.ts";
import type { Logger } from "../logger.ts";
import type { VdbNode } from "../node.ts";

export interface StopRequest {
  /** Resolves at the first SIGINT or SIGTERM, or when stdin ends if that was asked for. A second signal exits at once. */
  readonly requested: Promise<string>;
  /** Resolves when something that the node needs has ended for good. */
  readonly lost?: Promise<Error>;
}

export function listenForStop(options: { exitWithParent: boolean }): StopRequest {
  let isRequested = false;
  const requested = new Promise<string>((resolve) => {
    const request = (reason: string) => {
      if (isRequested) process.exit(1);
      isRequested = true;
      resolve(reason);
    };
    process.on("SIGINT", request);
    process.on("SIGTERM", request);
    if (!options.exitWithParent) return;
    const onParentGone = () => {
      if (!isRequested) request("the parent is gone");
    };
    process.stdin.on("end", onParentGone);
    process.stdin.on("error", onParentGone);
    process.stdin.resume();
  });
  return { requested };
}

/** Runs until a stop is asked for or the node fails. Returns the exit code, with the node stopped. */
export async function runNode(node: VdbNode, stop: StopRequest, logger: Logger): Promise<number> {
  const ended = await Promise.race([stop.requested, node.failed, ...(stop.lost === undefined ? [] : [stop.lost])]);
  if (ended instanceof Error) {
    logger.fatal({ kind: asVdbError(ended).kind, err: ended }, "node failed");
    await node.stop();
    return 1;
  }
  logger.info({ reason: ended }, "stopping");
  await node.stop();
  return 0;
}
