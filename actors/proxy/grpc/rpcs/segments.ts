/** Segments and replicas: where the rows are. Ids of segments and nodes are ULIDs here; Milvus's clients get a number of each. */
import * as api from "../../../../runtime/protocol/public.ts";
import { type GrpcCall, type GrpcFront, type Rpc, rpc } from "../rpc.ts";
import { shownCollection } from "./collections.ts";
import { listedPartitions } from "./partitions.ts";
import { collectionOf, dataOf, type NamedCollection, numberOf } from "./shapes.ts";

/** As segments/describe shows it. */
interface ShownSegment {
  segmentID: string;
  collectionID: number;
  partitionID: number;
  vChannel: string;
  numRows: number;
  level: string;
  bytes: number;
  nodeIDs: string[];
  indexes: { fieldID: number; indexID: number; bytes: number }[];
}

export const segmentRpcs: Rpc[] = [
  rpc("GetPersistentSegmentInfo", async (front, request: NamedCollection, call) => {
    const segments = await segmentsOf(front, request, call);
    return { infos: segments.map((segment) => ({ ...common(segment), state: "Flushed" })) };
  }),
  rpc("GetQuerySegmentInfo", async (front, request: NamedCollection, call) => {
    const segments = await segmentsOf(front, request, call);
    const served = segments.filter(({ nodeIDs }) => nodeIDs.length > 0);
    return { infos: served.map(servedSegment) };
  }),
  rpc("GetReplicas", getReplicas),
  rpc("ListIndexedSegment", async (front, request: { collectionName: string; indexName: string }, call) => {
    const { collectionName, indexName } = request;
    const name = { dbName: "", collectionName };
    const [index] = dataOf<{ indexID: number }[]>(await front.ask(api.describeIndex, { ...name, indexName }, call));
    const segments = await segmentsOf(front, name, call);
    const indexed = segments.filter(({ indexes }) => indexes.some(({ indexID }) => indexID === index!.indexID));
    return { segmentIDs: indexed.map(({ segmentID }) => numberOf(segmentID)) };
  }),
];

/** Those that are in objects. */
export async function segmentsOf(front: GrpcFront, request: NamedCollection, call: GrpcCall): Promise<ShownSegment[]> {
  const { dbName, collectionName } = request;
  const { collectionID } = await shownCollection(front, { dbName, collectionName }, call);
  const reply = await front.ask(api.describeSegments, { dbName, collectionName, collectionID }, call);
  return dataOf<{ segmentInfos: ShownSegment[] }>(reply).segmentInfos;
}

function common({ segmentID, collectionID, partitionID, numRows, level }: ShownSegment): Record<string, unknown> {
  return { segmentID: numberOf(segmentID), collectionID, partitionID, numRows, level, isSorted: false };
}

function servedSegment(segment: ShownSegment): Record<string, unknown> {
  const nodeIds = segment.nodeIDs.map(numberOf);
  const memSize = segment.indexes.reduce((sum, { bytes }) => sum + bytes, segment.bytes);
  const indexID = segment.indexes[0]?.indexID ?? 0;
  return { ...common(segment), state: "Sealed", memSize, indexID, nodeID: nodeIds[0], nodeIds };
}

/** Which nodes a replica is on is known of segments, not of replicas: each replica is said to be on all of its group's. */
async function getReplicas(front: GrpcFront, request: NamedCollection & { withShardNodes: boolean }, call: GrpcCall) {
  const name = await collectionOf(front, request, call);
  const shown = await shownCollection(front, name, call);
  const partitions = (await listedPartitions(front, name, call)).filter(({ isLoaded }) => isLoaded);
  const segments = await segmentsOf(front, name, call);
  const nodeIds = [...new Set(segments.flatMap(({ nodeIDs }) => nodeIDs))].map(numberOf);
  const shardReplicas = shown.virtualChannelNames.map((dmChannelName) => ({
    dmChannelName,
    nodeIds: [
      ...new Set(segments.filter(({ vChannel }) => vChannel === dmChannelName).flatMap(({ nodeIDs }) => nodeIDs)),
    ].map(numberOf),
  }));
  return {
    replicas: shown.replicas.map(({ resourceGroup }, i) => ({
      replicaID: shown.collectionID * 1024 + i,
      collectionID: shown.collectionID,
      partitionIds: partitions.map(({ partitionID }) => partitionID),
      shardReplicas: request.withShardNodes
        ? shardReplicas
        : shardReplicas.map(({ dmChannelName }) => ({ dmChannelName })),
      nodeIds,
      resourceGroupName: resourceGroup,
    })),
  };
}
