/** /v2/vectordb/resource_groups/*: groups of query nodes, and which replicas are in which. */
import { z } from "zod";
import type { Call } from "../../../runtime/bus/bus.ts";
import { VdbError } from "../../../runtime/errors.ts";
import type { ResourceGroupDoc } from "../../../runtime/protocol/catalog.ts";
import * as coordinator from "../../../runtime/protocol/coordinator.ts";
import * as api from "../../../runtime/protocol/public.ts";
import { configuredGroup, DEFAULT_GROUP, queryNodes, replicasByGroup } from "../../../runtime/resource-groups.ts";
import { changeCatalog } from "../ask-coordinator.ts";
import { type ProxyContext, type Route, route, success } from "../context.ts";
import { checkResourceGroupName } from "../names.ts";
import { optional } from "../parse-body.ts";
import { resolveLoaded } from "../resolve.ts";

const NodeCount = z.object({ node_num: z.int() });
const OtherGroups = optional(z.array(z.object({ resource_group: z.string() })));
const ConfigBody = z.object({
  requests: optional(NodeCount),
  limits: optional(NodeCount),
  transfer_from: OtherGroups,
  transfer_to: OtherGroups,
  node_filter: optional(z.object({ node_labels: optional(z.unknown()) })),
});
type ConfigBody = z.infer<typeof ConfigBody>;

const NameBody = z.object({ name: z.string().min(1) });
type NameBody = z.infer<typeof NameBody>;
const CreateBody = NameBody.extend({ config: optional(ConfigBody) });
const AlterBody = z.object({ resource_groups: z.record(z.string(), ConfigBody) });
const TransferNodeBody = z.object({
  sourceRgName: z.string().min(1),
  targetRgName: z.string().min(1),
  nodeNum: z.int().min(1),
});
const TransferReplicaBody = z.object({
  dbName: optional(z.string()),
  sourceRgName: z.string().min(1),
  targetRgName: z.string().min(1),
  collectionName: z.string().min(1),
  replicaNum: z.int().min(1),
});

export const resourceGroupRoutes: Route[] = [
  { operation: api.listResourceGroups, handle: list },
  route(api.describeResourceGroup, NameBody, describe),
  route(api.createResourceGroup, CreateBody, create),
  route(api.alterResourceGroups, AlterBody, alter),
  route(api.dropResourceGroup, NameBody, drop),
  route(api.transferNode, TransferNodeBody, transferNode),
  route(api.transferReplica, TransferReplicaBody, transferReplica),
];

async function list({ actor }: ProxyContext, _body: unknown, call: Call) {
  await actor.catalog.cache.sync(call.deadline);
  return success([DEFAULT_GROUP, ...actor.catalog.resourceGroups().map(({ name }) => name)]);
}

/** Milvus answers without `data`; so does this, with the code that our replies have. */
async function describe({ actor }: ProxyContext, { name }: NameBody, call: Call) {
  const { catalog } = actor;
  await catalog.cache.sync(call.deadline);
  const doc = groupOf(catalog.resourceGroup(name), name);
  const members = queryNodes(actor.nodes, catalog).filter(({ group }) => group === name);
  const loaded: Record<string, number> = {};
  for (const collection of catalog.collections()) {
    const count = collection.loaded === undefined ? 0 : (replicasByGroup(collection.loaded).get(name) ?? 0);
    if (count > 0) loaded[collection.name] = count;
  }
  const group = {
    name,
    capacity: doc?.requests ?? members.length,
    num_available_node: members.filter(({ lease }) => !lease.isDraining).length,
    num_loaded_replica: loaded,
    ...(doc === null ? {} : { config: shownConfig(doc) }),
    nodes: members.map(({ lease }) => ({ node_id: lease.nodeId, hostname: lease.host })),
  };
  return { code: 0, resource_group: group };
}

async function create({ actor }: ProxyContext, { name, config }: z.infer<typeof CreateBody>, call: Call) {
  checkResourceGroupName(name);
  await changeCatalog(
    actor,
    coordinator.createResourceGroup,
    { name, config: configOf(config ?? ConfigBody.parse({})) },
    call,
  );
  return success({});
}

async function alter({ actor }: ProxyContext, body: z.infer<typeof AlterBody>, call: Call) {
  const given = Object.entries(body.resource_groups);
  const groups = Object.fromEntries(given.map(([name, config]) => [name, configOf(config)]));
  await changeCatalog(actor, coordinator.alterResourceGroups, { groups }, call);
  return success({});
}

/** Of an unknown group: nothing to do, as in Milvus. */
async function drop({ actor }: ProxyContext, { name }: NameBody, call: Call) {
  await changeCatalog(actor, coordinator.dropResourceGroup, { name }, call);
  return success({});
}

/** Moves the wish for nodes from one group to another; which nodes those are is the coordinator's choice. */
async function transferNode({ actor }: ProxyContext, body: z.infer<typeof TransferNodeBody>, call: Call) {
  const { sourceRgName, targetRgName, nodeNum } = body;
  requireDifferent(sourceRgName, targetRgName);
  const { catalog, nodes } = actor;
  await catalog.cache.sync(call.deadline);
  const source = groupOf(catalog.resourceGroup(sourceRgName), sourceRgName);
  const target = groupOf(catalog.resourceGroup(targetRgName), targetRgName);
  // Those whose own configuration names the group cannot be given away.
  const members = queryNodes(nodes, catalog).filter(({ group }) => group === sourceRgName);
  const current = members.filter(({ lease }) => configuredGroup(lease) === DEFAULT_GROUP).length;
  if (current < nodeNum) {
    throw new VdbError(
      "resource_group_nodes_not_enough",
      `resource group node not enough[rg=${sourceRgName}][currentNodeNum=${current}][expectedNodeNum=${nodeNum}]`,
    );
  }
  const groups: Record<string, coordinator.ResourceGroupConfig> = {};
  if (source !== null) {
    // It had more than it asked for, perhaps: what is over its limits is what it gives.
    const limits = Math.min(source.limits, members.length);
    groups[sourceRgName] = changedBy({ ...source, limits }, -nodeNum);
  }
  if (target !== null) groups[targetRgName] = changedBy(target, nodeNum);
  await changeCatalog(actor, coordinator.alterResourceGroups, { groups }, call);
  return success({});
}

async function transferReplica({ actor }: ProxyContext, request: z.infer<typeof TransferReplicaBody>, call: Call) {
  const { sourceRgName, targetRgName, replicaNum } = request;
  requireDifferent(sourceRgName, targetRgName);
  await actor.catalog.cache.sync(call.deadline);
  for (const name of [sourceRgName, targetRgName]) groupOf(actor.catalog.resourceGroup(name), name);
  const { collectionId, loaded } = await resolveLoaded(actor, request, call);
  const groups = [...replicasByGroup(loaded!)].flatMap(([name, count]) => new Array<string>(count).fill(name));
  const found = groups.filter((name) => name === sourceRgName).length;
  if (found < replicaNum) {
    throw new VdbError(
      "invalid_parameter",
      `only found [${found}] replicas of collection [${request.collectionName}] in source resource group [${sourceRgName}]`,
    );
  }
  for (let i = 0; i < replicaNum; i++) groups[groups.indexOf(sourceRgName)] = targetRgName;
  const partitionIds = loaded!.partitionIds;
  const load = {
    ...{ collectionId, replicaNumber: groups.length, resourceGroups: groups },
    ...(partitionIds === undefined ? {} : { partitionIds }),
  };
  await changeCatalog(actor, coordinator.loadCollection, load, call);
  return success({});
}

/** Null: the default group, which has no document. @throws VdbError resource_group_not_found */
function groupOf(doc: ResourceGroupDoc | undefined, name: string): ResourceGroupDoc | null {
  if (doc === undefined && name !== DEFAULT_GROUP) {
    throw new VdbError("resource_group_not_found", `resource group not found[rg=${name}]`);
  }
  return doc ?? null;
}

function requireDifferent(source: string, target: string): void {
  if (source !== target) return;
  throw new VdbError("invalid_parameter", "source resource group and target resource group should not be the same");
}

/** Limits follow requests: a group that got a node may keep it, one that gave it gives it away. */
function changedBy(doc: ResourceGroupDoc, nodes: number): coordinator.ResourceGroupConfig {
  const { transferFrom, transferTo } = doc;
  const requests = Math.max(0, doc.requests + nodes);
  return { requests, limits: Math.max(requests, doc.limits + nodes), transferFrom, transferTo };
}

function configOf({ requests, limits, transfer_from, transfer_to, node_filter }: ConfigBody) {
  if (node_filter?.node_labels !== undefined && Object.keys(node_filter.node_labels as object).length > 0) {
    throw new VdbError("invalid_parameter", "node_filter is not supported: name the group in the node's configuration");
  }
  const names = (others: ConfigBody["transfer_from"]) => (others ?? []).map(({ resource_group }) => resource_group);
  return {
    requests: requests?.node_num ?? 0,
    limits: limits?.node_num ?? requests?.node_num ?? 0,
    transferFrom: names(transfer_from),
    transferTo: names(transfer_to),
  };
}

function shownConfig({ requests, limits, transferFrom, transferTo }: ResourceGroupDoc) {
  const others = (names: readonly string[]) => names.map((resource_group) => ({ resource_group }));
  return {
    requests: { node_num: requests },
    limits: { node_num: limits },
    transfer_from: others(transferFrom),
    transfer_to: others(transferTo),
  };
}
