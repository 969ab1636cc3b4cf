/** Groups of query nodes. */
import * as api from "../../../../runtime/protocol/public.ts";
import { type Rpc, rpc } from "../rpc.ts";
import { dataOf, type KeyValue, numberOf, recordOf } from "./shapes.ts";

/** rg.ResourceGroupConfig as decoded. */
interface ConfigMessage {
  requests: { nodeNum: number } | null;
  limits: { nodeNum: number } | null;
  transferFrom: { resourceGroup: string }[];
  transferTo: { resourceGroup: string }[];
  nodeFilter: { nodeLabels: KeyValue[] } | null;
}

interface NodeCount {
  node_num: number;
}

/** As resource_groups/describe shows it. */
interface ShownGroup {
  name: string;
  capacity: number;
  num_available_node: number;
  num_loaded_replica: Record<string, number>;
  config?: {
    requests: NodeCount;
    limits: NodeCount;
    transfer_from: { resource_group: string }[];
    transfer_to: { resource_group: string }[];
  };
  nodes: { node_id: string; hostname: string }[];
}

interface TransferRequest {
  sourceResourceGroup: string;
  targetResourceGroup: string;
}

export const resourceGroupRpcs: Rpc[] = [
  rpc(
    "CreateResourceGroup",
    async (front, { resourceGroup, config }: { resourceGroup: string; config: ConfigMessage | null }, call) => {
      const body = { name: resourceGroup, ...(config === null ? {} : { config: configBody(config) }) };
      await front.ask(api.createResourceGroup, body, call);
    },
  ),
  rpc("DropResourceGroup", async (front, { resourceGroup }: { resourceGroup: string }, call) => {
    await front.ask(api.dropResourceGroup, { name: resourceGroup }, call);
  }),
  rpc("UpdateResourceGroups", async (front, request: { resourceGroups: Record<string, ConfigMessage> }, call) => {
    const groups = Object.entries(request.resourceGroups).map(([name, config]) => [name, configBody(config)]);
    await front.ask(api.alterResourceGroups, { resource_groups: Object.fromEntries(groups) }, call);
  }),
  rpc("TransferNode", async (front, request: TransferRequest & { numNode: number }, call) => {
    await front.ask(api.transferNode, { ...between(request), nodeNum: request.numNode }, call);
  }),
  rpc(
    "TransferReplica",
    async (front, request: TransferRequest & { dbName: string; collectionName: string; numReplica: string }, call) => {
      const { dbName, collectionName, numReplica } = request;
      const body = { ...between(request), dbName, collectionName, replicaNum: Number(numReplica) };
      await front.ask(api.transferReplica, body, call);
    },
  ),
  rpc("ListResourceGroups", async (front, _request, call) => {
    return { resourceGroups: dataOf<string[]>(await front.ask(api.listResourceGroups, {}, call)) };
  }),
  rpc("DescribeResourceGroup", async (front, { resourceGroup: name }: { resourceGroup: string }, call) => {
    const reply = await front.ask(api.describeResourceGroup, { name }, call);
    const group = reply.resource_group as ShownGroup;
    return {
      resourceGroup: {
        name: group.name,
        capacity: group.capacity,
        numAvailableNode: group.num_available_node,
        numLoadedReplica: group.num_loaded_replica,
        ...(group.config === undefined ? {} : { config: configMessage(group.config) }),
        nodes: group.nodes.map(({ node_id, hostname }) => ({ nodeId: numberOf(node_id), address: node_id, hostname })),
      },
    };
  }),
];

function between({ sourceResourceGroup, targetResourceGroup }: TransferRequest): Record<string, unknown> {
  return { sourceRgName: sourceResourceGroup, targetRgName: targetResourceGroup };
}

function configBody({ requests, limits, transferFrom, transferTo, nodeFilter }: ConfigMessage) {
  const count = (given: { nodeNum: number } | null) => (given === null ? undefined : { node_num: given.nodeNum });
  const others = (groups: { resourceGroup: string }[]) =>
    groups.map(({ resourceGroup }) => ({ resource_group: resourceGroup }));
  return {
    requests: count(requests),
    limits: count(limits),
    transfer_from: others(transferFrom),
    transfer_to: others(transferTo),
    ...(nodeFilter === null ? {} : { node_filter: { node_labels: recordOf(nodeFilter.nodeLabels) } }),
  };
}

function configMessage(config: NonNullable<ShownGroup["config"]>) {
  const others = (groups: { resource_group: string }[]) =>
    groups.map(({ resource_group }) => ({ resourceGroup: resource_group }));
  return {
    requests: { nodeNum: config.requests.node_num },
    limits: { nodeNum: config.limits.node_num },
    transferFrom: others(config.transfer_from),
    transferTo: others(config.transfer_to),
  };
}
