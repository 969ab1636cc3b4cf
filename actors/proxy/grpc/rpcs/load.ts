/** Loading and releasing, and how far it is. */
import { isVdbError, VdbError } from "../../../../runtime/errors.ts";
import * as api from "../../../../runtime/protocol/public.ts";
import { type GrpcCall, type GrpcFront, type Rpc, rpc } from "../rpc.ts";
import { dataOf, type NamedCollection } from "./shapes.ts";

interface LoadRequest extends NamedCollection {
  replicaNumber: number;
  resourceGroups: string[];
  refresh: boolean;
  loadFields: string[];
  skipLoadDynamicField: boolean;
}

interface PartitionsRequest extends LoadRequest {
  partitionNames: string[];
}

interface LoadState {
  loadState: string;
  loadProgress?: number;
}

export const loadRpcs: Rpc[] = [
  rpc("LoadCollection", async (front, request: LoadRequest, call) => {
    const { dbName, collectionName } = request;
    if (request.refresh) await front.ask(api.refreshLoad, { dbName, collectionName }, call);
    else await front.ask(api.loadCollection, { dbName, collectionName, ...optionsOf(request) }, call);
  }),
  rpc("ReleaseCollection", async (front, { dbName, collectionName }: NamedCollection, call) => {
    await front.ask(api.releaseCollection, { dbName, collectionName }, call);
  }),
  rpc("LoadPartitions", async (front, request: PartitionsRequest, call) => {
    const { dbName, collectionName, partitionNames } = request;
    await front.ask(api.loadPartitions, { dbName, collectionName, partitionNames, ...optionsOf(request) }, call);
  }),
  rpc("ReleasePartitions", async (front, request: PartitionsRequest, call) => {
    const { dbName, collectionName, partitionNames } = request;
    await front.ask(api.releasePartitions, { dbName, collectionName, partitionNames }, call);
  }),
  rpc("GetLoadState", async (front, request: PartitionsRequest, call) => {
    try {
      return { state: (await loadState(front, request, call)).loadState };
    } catch (error) {
      if (isVdbError(error, "collection_not_found", "partition_not_found")) return { state: "LoadStateNotExist" };
      throw error;
    }
  }),
  rpc("GetLoadingProgress", async (front, request: PartitionsRequest, call) => {
    const { loadProgress } = await loadState(front, request, call);
    if (loadProgress !== undefined) return { progress: loadProgress, refreshProgress: loadProgress };
    const { collectionName, partitionNames } = request;
    throw partitionNames.length > 0
      ? new VdbError("partition_not_loaded", `partition not loaded[partition=${partitionNames.join(",")}]`)
      : new VdbError("collection_not_loaded", `collection not loaded[collection=${collectionName}]`);
  }),
];

async function loadState(front: GrpcFront, request: PartitionsRequest, call: GrpcCall): Promise<LoadState> {
  const { dbName, collectionName, partitionNames } = request;
  return dataOf<LoadState>(await front.ask(api.getLoadState, { dbName, collectionName, partitionNames }, call));
}

/** What is not said is left out: it is as the collection's and the database's properties have it. */
function optionsOf({ replicaNumber, resourceGroups, loadFields, skipLoadDynamicField }: LoadRequest) {
  return {
    ...(replicaNumber === 0 ? {} : { replicaNumber }),
    ...(resourceGroups.length === 0 ? {} : { resourceGroups }),
    ...(loadFields.length === 0 ? {} : { loadFields }),
    ...(skipLoadDynamicField ? { skipLoadDynamicField } : {}),
  };
}
