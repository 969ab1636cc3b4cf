/** Compaction by hand. */
import * as api from "../../../../runtime/protocol/public.ts";
import { type GrpcCall, type GrpcFront, type Rpc, rpc } from "../rpc.ts";
import { collectionOf, dataOf, type NamedCollection } from "./shapes.ts";

interface CompactRequest extends NamedCollection {
  majorCompaction: boolean;
}

interface CompactionState {
  state: string;
  executingPlanNumber: number;
  timeoutPlanNumber: number;
  completedPlanNumber: number;
}

export const compactionRpcs: Rpc[] = [
  rpc("ManualCompaction", async (front, request: CompactRequest, call) => {
    const body = { ...(await collectionOf(front, request, call)), isClustering: request.majorCompaction };
    const { compactionID } = dataOf<{ compactionID: number }>(await front.ask(api.compactCollection, body, call));
    const { executingPlanNumber, completedPlanNumber } = await stateOf(front, String(compactionID), call);
    return { compactionID, compactionPlanCount: executingPlanNumber + completedPlanNumber };
  }),
  rpc("GetCompactionState", async (front, { compactionID }: { compactionID: string }, call) => {
    const found = await stateOf(front, compactionID, call);
    return {
      state: found.state,
      executingPlanNo: found.executingPlanNumber,
      timeoutPlanNo: found.timeoutPlanNumber,
      completedPlanNo: found.completedPlanNumber,
    };
  }),
  /** Which segments became which is not kept. */
  rpc("GetCompactionStateWithPlans", async (front, { compactionID }: { compactionID: string }, call) => {
    return { state: (await stateOf(front, compactionID, call)).state, mergeInfos: [] };
  }),
];

async function stateOf(front: GrpcFront, compactionID: string, call: GrpcCall): Promise<CompactionState> {
  return dataOf<CompactionState>(await front.ask(api.getCompactionState, { jobID: Number(compactionID) }, call));
}
