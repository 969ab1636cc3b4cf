/**
 * Resource groups: which query nodes serve which replicas. A node is in the group that its configuration names; in the
 * default one otherwise, unless a group that asks for nodes has taken it (actors/coordinator/resource-groups.ts).
 */
import type { Catalog } from "./meta/catalog.ts";
import type { NodeRegistry } from "./node-registry.ts";
import type { CollectionDoc } from "./protocol/catalog.ts";
import type { NodeLease } from "./protocol/node.ts";

export const DEFAULT_GROUP = "__default_resource_group";

/** The group that a query node's own configuration names. */
export function configuredGroup({ state }: Pick<NodeLease, "state">): string {
  return typeof state.resourceGroup === "string" ? state.resourceGroup : DEFAULT_GROUP;
}

/** The live query nodes, draining ones too, with the group of each. */
export function queryNodes(nodes: NodeRegistry, catalog: Catalog): { lease: NodeLease; group: string }[] {
  const taken = new Map<string, string>();
  for (const { name, nodeIds } of catalog.resourceGroups()) {
    for (const nodeId of nodeIds) if (!taken.has(nodeId)) taken.set(nodeId, name);
  }
  return nodes.ofRole("query").map((lease) => {
    const configured = configuredGroup(lease);
    return { lease, group: configured === DEFAULT_GROUP ? (taken.get(lease.nodeId) ?? DEFAULT_GROUP) : configured };
  });
}

/** Replicas by the group that they are in. */
export function replicasByGroup(loaded: NonNullable<CollectionDoc["loaded"]>): Map<string, number> {
  const { replicaNumber, resourceGroups } = loaded;
  const counts = new Map<string, number>();
  for (let replica = 0; replica < replicaNumber; replica++) {
    const group = resourceGroups?.[replica] ?? DEFAULT_GROUP;
    counts.set(group, (counts.get(group) ?? 0) + 1);
  }
  return counts;
}
