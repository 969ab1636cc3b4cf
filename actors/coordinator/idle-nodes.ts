/** Data nodes that take one more job. */
import type { NodeRegistry } from "../../runtime/node-registry.ts";

/** Those with fewer than `limit` of `jobs`, the idlest first. One that drains gets nothing new. */
export function idleDataNodes(nodes: NodeRegistry, jobs: readonly { nodeId: string }[], limit: number): string[] {
  return nodes
    .ofRole("data")
    .filter(({ isDraining }) => !isDraining)
    .map(({ nodeId }) => ({ nodeId, count: jobs.filter((job) => job.nodeId === nodeId).length }))
    .filter(({ count }) => count < limit)
    .sort((a, b) => a.count - b.count)
    .map(({ nodeId }) => nodeId);
}
