/**
 * The list of live nodes in the catalogue: what the leases say, written when it changes (runtime/node-registry.ts says
 * why). Only time is at stake: while nobody leads, a node that has died stays listed, and asks to it fail by themselves.
 */
import type { ActorContext } from "../../runtime/actor.ts";
import { asVdbError, isVdbError } from "../../runtime/errors.ts";
import { putDoc } from "../../runtime/meta/catalog.ts";
import { type MembersDoc, metaKeys } from "../../runtime/protocol/catalog.ts";
import { encode } from "../../runtime/protocol/codec.ts";
import type { NodeLease } from "../../runtime/protocol/node.ts";
import type { Leadership } from "./leadership.ts";

const RETRY_MS = 1_000;

/** Runs until the leader is deposed. */
export async function keepMembers(
  { nodes, catalog, clock, logger }: Pick<ActorContext, "nodes" | "catalog" | "clock" | "logger">,
  leadership: Leadership,
): Promise<void> {
  const { signal } = leadership;
  const deposed = new Promise<void>((resolve) => {
    signal.addEventListener("abort", () => resolve(), { once: true });
  });
  let wake = () => {};
  using _nodes = nodes.subscribe(() => wake());
  while (!signal.aborted) {
    const changed = new Promise<void>((resolve) => {
      wake = resolve;
    });
    const doc: MembersDoc = { epoch: leadership.epoch, nodes: nodes.all().map(member).sort(byKey) };
    try {
      if (!isSame(catalog.members(), doc)) {
        const isWritten = await leadership.commit([putDoc(catalog.cache, metaKeys.members, doc)]);
        if (!isWritten) continue;
      }
      await Promise.race([changed, deposed]);
    } catch (error) {
      if (isVdbError(error, "canceled")) return;
      logger.warn({ error: asVdbError(error).message }, "list of nodes not written, will be repeated");
      await clock.sleep(RETRY_MS, signal).catch(() => undefined);
    }
  }
}

/** What does not change while the node lives, except whether it is draining. */
function member({ state, ...lease }: NodeLease): NodeLease {
  const { resourceGroup } = state;
  return { ...lease, state: resourceGroup === undefined ? {} : { resourceGroup } };
}

function byKey(a: NodeLease, b: NodeLease): number {
  return a.nodeId === b.nodeId ? (a.role < b.role ? -1 : 1) : a.nodeId < b.nodeId ? -1 : 1;
}

function isSame(before: MembersDoc | undefined, now: MembersDoc): boolean {
  return before?.epoch === now.epoch && Buffer.compare(encode(before?.nodes), encode(now.nodes)) === 0;
}
