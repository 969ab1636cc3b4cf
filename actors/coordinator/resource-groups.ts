/**
 * Resource groups, as the leader keeps them: a document for each but the default one, which has every node that no other
 * has. Users say how many nodes a group asks for; which those are is reconciled, so that a node that is gone is made up
 * for by another.
 */
import { isDeepStrictEqual } from "node:util";
import type { ActorContext } from "../../runtime/actor.ts";
import { VdbError } from "../../runtime/errors.ts";
import { putDoc } from "../../runtime/meta/catalog.ts";
import type { MetaOp } from "../../runtime/meta/port.ts";
import { type CollectionDoc, metaKeys, type ResourceGroupDoc } from "../../runtime/protocol/catalog.ts";
import type { ResourceGroupConfig } from "../../runtime/protocol/coordinator.ts";
import { configuredGroup, DEFAULT_GROUP, queryNodes, replicasByGroup } from "../../runtime/resource-groups.ts";
import type { Leadership } from "./leadership.ts";

const GROUPS_MAX = 1024;

export interface GroupChanges {
  create(request: { name: string; config: ResourceGroupConfig }): Promise<{ revision: number }>;
  alter(request: { groups: Record<string, ResourceGroupConfig> }): Promise<{ revision: number }>;
  drop(request: { name: string }): Promise<{ revision: number }>;
}

export function groupChanges(ctx: ActorContext, leadership: Leadership): GroupChanges {
  const { catalog } = ctx;
  const { cache } = catalog;

  async function commit(change: () => MetaOp[] | null): Promise<{ revision: number }> {
    for (;;) {
      const ops = change();
      if (ops === null || ops.length === 0 || (await leadership.commit(ops))) return { revision: cache.revision };
    }
  }

  return {
    create: ({ name, config }) =>
      commit(() => {
        const other = name === DEFAULT_GROUP ? undefined : catalog.resourceGroup(name);
        if (other !== undefined && isDeepStrictEqual(configOf(other), config)) return null;
        if (other !== undefined || name === DEFAULT_GROUP) {
          throw new VdbError(
            "resource_group_exists",
            `resource group already exist, but create with different config[rg=${name}]`,
          );
        }
        if (catalog.resourceGroups().length + 1 >= GROUPS_MAX) {
          throw new VdbError("resource_group_limit", `resource group num reach limit[limit=${GROUPS_MAX}]`);
        }
        checkConfig(ctx, name, config);
        return [putDoc(cache, metaKeys.resourceGroup(name), { name, ...config, nodeIds: [] })];
      }),

    alter: ({ groups }) =>
      commit(() =>
        Object.entries(groups).flatMap(([name, config]) => {
          const doc = requireGroup(ctx, name);
          if (doc === null) {
            throw illegalConfig(name, "the default resource group has the nodes that others do not ask for");
          }
          checkConfig(ctx, name, config);
          if (isDeepStrictEqual(configOf(doc), config)) return [];
          return [putDoc(cache, metaKeys.resourceGroup(name), { ...doc, ...config })];
        }),
      ),

    drop: ({ name }) =>
      commit(() => {
        if (name === DEFAULT_GROUP) {
          throw new VdbError("invalid_parameter", "default resource group is not deletable");
        }
        const doc = catalog.resourceGroup(name);
        if (doc === undefined) return null;
        if (doc.limits !== 0) {
          throw new VdbError("invalid_parameter", `resource group's limits node num is not 0[rg=${name}]`);
        }
        const pinned = ctx.nodes.ofRole("query").find((lease) => configuredGroup(lease) === name);
        if (pinned !== undefined) {
          throw new VdbError(
            "invalid_parameter",
            `node ${pinned.nodeId} is configured to be in resource group ${name}`,
          );
        }
        const user = catalog.collections().find(({ loaded }) => loaded?.resourceGroups?.includes(name));
        if (user !== undefined) {
          throw new VdbError(
            "invalid_parameter",
            `some replicas still loaded in resource group[rg=${name}][collection=${user.name}], release it first`,
          );
        }
        const key = metaKeys.resourceGroup(name);
        return [{ op: "delete", key, revision: cache.revisionOf(key) }];
      }),
  };
}

/**
 * The load state of a collection as it is asked for; `before` when that is what it has.
 * @throws VdbError resource_group_not_found, resource_group_nodes_not_enough, invalid_parameter
 */
export function loadedIn(
  ctx: ActorContext,
  replicaNumber: number,
  groups: readonly string[],
  before: CollectionDoc["loaded"],
): NonNullable<CollectionDoc["loaded"]> {
  if (groups.length > 1 && groups.length !== replicaNumber) {
    throw new VdbError(
      "invalid_parameter",
      `replica=[${replicaNumber}] resource group=[${groups.join()}], resource group num can only be 0, 1 or same as replica number`,
    );
  }
  const named = Array.from({ length: replicaNumber }, (_, i) => groups[i] ?? groups[0] ?? DEFAULT_GROUP);
  const loaded = named.every((name) => name === DEFAULT_GROUP)
    ? { replicaNumber }
    : { replicaNumber, resourceGroups: named };
  // What is there already asks for no more nodes, also while some of them are away.
  if (isDeepStrictEqual(before, loaded)) return loaded;
  const takers = queryNodes(ctx.nodes, ctx.catalog).filter(({ lease }) => !lease.isDraining);
  for (const [name, expected] of replicasByGroup(loaded)) {
    requireGroup(ctx, name);
    const current = takers.filter(({ group }) => group === name).length;
    // One replica in the default group waits for a node: a cluster that is starting has none yet.
    if (current >= expected || (replicaNumber === 1 && name === DEFAULT_GROUP)) continue;
    throw new VdbError(
      "resource_group_nodes_not_enough",
      `failed to spawn replica for collection: resource group node not enough[rg=${name}][currentNodeNum=${current}][expectedNodeNum=${expected}]`,
    );
  }
  return loaded;
}

/** One step towards every group having what it asks for. */
export async function assignGroupNodes(ctx: ActorContext, leadership: Leadership): Promise<void> {
  const { catalog, logger, nodes } = ctx;
  const changed = planGroupNodes(
    catalog.resourceGroups(),
    nodes.ofRole("query").map((lease) => ({
      nodeId: lease.nodeId,
      configured: configuredGroup(lease),
      isDraining: lease.isDraining,
    })),
  );
  if (changed.length === 0) return;
  const ops = changed.map((doc) => putDoc(catalog.cache, metaKeys.resourceGroup(doc.name), doc));
  if (!(await leadership.commit(ops))) return;
  for (const { name, nodeIds } of changed) logger.info({ resourceGroup: name, nodeIds }, "resource group has nodes");
}

export interface GroupNode {
  nodeId: string;
  /** By its own configuration; the default group when that names none. */
  configured: string;
  isDraining: boolean;
}

/**
 * The documents that change: groups that nodes' configurations name come to be; who has more than its limits gives
 * back; who has fewer than it asks for gets more, as far as there are any. Pure.
 */
export function planGroupNodes(docs: readonly ResourceGroupDoc[], nodes: readonly GroupNode[]): ResourceGroupDoc[] {
  const groups = new Map(docs.map((doc) => [doc.name, { doc, nodeIds: [] as string[], pinned: 0 }]));
  for (const { configured: name } of nodes) {
    if (name === DEFAULT_GROUP || groups.has(name)) continue;
    const doc = { name, requests: 0, limits: 0, transferFrom: [], transferTo: [], nodeIds: [] };
    groups.set(name, { doc, nodeIds: [], pinned: 0 });
  }
  const free = new Set<string>();
  const live = new Map(nodes.map((node) => [node.nodeId, node]));
  for (const { nodeId, configured, isDraining } of nodes) {
    if (configured !== DEFAULT_GROUP) groups.get(configured)!.pinned++;
    else if (!isDraining) free.add(nodeId);
  }
  const wanted = ({ doc, pinned }: { doc: ResourceGroupDoc; pinned: number }) => Math.max(0, doc.requests - pinned);
  for (const group of groups.values()) {
    const { doc, pinned } = group;
    const most = Math.max(wanted(group), doc.limits - pinned);
    for (const nodeId of doc.nodeIds) {
      if (live.get(nodeId)?.configured !== DEFAULT_GROUP || group.nodeIds.length >= most) continue;
      // A draining node stays in its group, but does not count.
      if (free.delete(nodeId)) group.nodeIds.push(nodeId);
    }
  }
  for (const group of groups.values()) {
    const lenders = group.doc.transferFrom.flatMap((name) => groups.get(name) ?? []);
    const takers = [...groups.values()].filter(({ doc }) => doc.transferTo.includes(group.doc.name));
    while (group.nodeIds.length < wanted(group)) {
      const lender = [...lenders, ...takers].find((other) => other !== group && other.nodeIds.length > wanted(other));
      const nodeId = lender?.nodeIds.pop() ?? [...free][0];
      if (nodeId === undefined) break;
      free.delete(nodeId);
      group.nodeIds.push(nodeId);
    }
  }
  const changed: ResourceGroupDoc[] = [];
  for (const group of groups.values()) {
    const { doc, nodeIds } = group;
    // A node that is away may come back; it keeps its place until another has taken it.
    const away = doc.nodeIds.filter((nodeId) => !live.has(nodeId));
    const kept = [...nodeIds, ...away.slice(0, Math.max(0, wanted(group) - nodeIds.length))];
    const draining = doc.nodeIds.filter((nodeId) => live.get(nodeId)?.isDraining === true);
    const next = new Set([...kept, ...draining]);
    const isSame = next.size === doc.nodeIds.length && doc.nodeIds.every((nodeId) => next.has(nodeId));
    if (!isSame || !docs.includes(doc)) changed.push({ ...doc, nodeIds: [...next] });
  }
  return changed;
}

/** Null: the default group. @throws VdbError resource_group_not_found */
function requireGroup(ctx: ActorContext, name: string): ResourceGroupDoc | null {
  if (name === DEFAULT_GROUP) return null;
  const doc = ctx.catalog.resourceGroup(name);
  if (doc === undefined) throw new VdbError("resource_group_not_found", `resource group not found[rg=${name}]`);
  return doc;
}

/** @throws VdbError resource_group_illegal_config, resource_group_not_found */
function checkConfig(ctx: ActorContext, name: string, config: ResourceGroupConfig): void {
  const { requests, limits, transferFrom, transferTo } = config;
  if (requests < 0 || limits < 0) throw illegalConfig(name, "requests and limits must not be negative");
  if (requests > limits) throw illegalConfig(name, `limits node num ${limits} is less than requests ${requests}`);
  for (const other of [...transferFrom, ...transferTo]) {
    if (other === name) throw illegalConfig(name, "a resource group cannot transfer to or from itself");
    requireGroup(ctx, other);
  }
}

function illegalConfig(name: string, reason: string): VdbError {
  return new VdbError("resource_group_illegal_config", `resource group illegal config[rg=${name}]: ${reason}`);
}

function configOf({ requests, limits, transferFrom, transferTo }: ResourceGroupDoc): ResourceGroupConfig {
  return { requests, limits, transferFrom, transferTo };
}
