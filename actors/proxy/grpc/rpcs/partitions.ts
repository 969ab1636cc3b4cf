/** Partitions. */
import * as api from "../../../../runtime/protocol/public.ts";
import { type GrpcCall, type GrpcFront, type Rpc, rpc } from "../rpc.ts";
import { collectionOf, dataOf, type NamedCollection, pairsOf, physicalOf } from "./shapes.ts";

interface PartitionRequest extends NamedCollection {
  partitionName: string;
}

interface ShowRequest extends NamedCollection {
  partitionNames: string[];
  type: string;
}

/** Of partitions/list, with details. */
export interface ListedPartition {
  partitionName: string;
  partitionID: number;
  createdTimestamp: string;
  isLoaded: boolean;
}

export const partitionRpcs: Rpc[] = [
  rpc("CreatePartition", async (front, request: PartitionRequest, call) => {
    await front.ask(api.createPartition, named(request), call);
  }),
  rpc("DropPartition", async (front, request: PartitionRequest, call) => {
    await front.ask(api.dropPartition, named(request), call);
  }),
  rpc("HasPartition", async (front, request: PartitionRequest, call) => {
    return { value: dataOf<{ has: boolean }>(await front.ask(api.hasPartition, named(request), call)).has };
  }),
  rpc("GetPartitionStatistics", async (front, request: PartitionRequest, call) => {
    const { rowCount } = dataOf<{ rowCount: number }>(await front.ask(api.getPartitionStats, named(request), call));
    return { stats: pairsOf({ row_count: rowCount }) };
  }),
  rpc("ShowPartitions", async (front, request: ShowRequest, call) => {
    const { partitionNames, type } = request;
    const name = await collectionOf(front, request, call);
    const isInMemory = type === "InMemory";
    const shown = (await listedPartitions(front, name, call)).filter(
      ({ partitionName, isLoaded }) =>
        (!isInMemory || isLoaded) && (partitionNames.length === 0 || partitionNames.includes(partitionName)),
    );
    const percentages: number[] = [];
    for (const { partitionName } of isInMemory ? shown : []) {
      const state = await front.ask(api.getLoadState, { ...name, partitionNames: [partitionName] }, call);
      percentages.push(dataOf<{ loadProgress?: number }>(state).loadProgress ?? 0);
    }
    return {
      partitionNames: shown.map(({ partitionName }) => partitionName),
      partitionIDs: shown.map(({ partitionID }) => partitionID),
      createdTimestamps: shown.map(({ createdTimestamp }) => createdTimestamp),
      createdUtcTimestamps: shown.map(({ createdTimestamp }) => physicalOf(createdTimestamp)),
      inMemoryPercentages: percentages,
    };
  }),
];

export async function listedPartitions(
  front: GrpcFront,
  name: { dbName: string; collectionName: string },
  call: GrpcCall,
): Promise<ListedPartition[]> {
  const reply = await front.ask(api.listPartitions, { ...name, withDetails: true }, call);
  return reply.details as ListedPartition[];
}

function named({ dbName, collectionName, partitionName }: PartitionRequest): Record<string, unknown> {
  return { dbName, collectionName, partitionName };
}
