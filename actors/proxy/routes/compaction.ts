/** /v2/vectordb/collections/compact and get_compaction_state */
import { z } from "zod";
import type { Call } from "../../../runtime/bus/bus.ts";
import * as coordinator from "../../../runtime/protocol/coordinator.ts";
import * as api from "../../../runtime/protocol/public.ts";
import { askCoordinator, changeCatalog } from "../ask-coordinator.ts";
import { invalid, wholeNumber } from "../catalog/field-spec.ts";
import { newestRoute, type ProxyContext, type Route, route, success } from "../context.ts";
import { CollectionBody, optional } from "../parse-body.ts";
import { resolveCollection } from "../resolve.ts";

const CompactBody = CollectionBody.extend({ isClustering: optional(z.boolean()) });
const StateBody = z.object({ jobID: z.union([z.number(), z.string()]) });

export const compactionRoutes: Route[] = [
  newestRoute(api.compactCollection, CompactBody, compact),
  route(api.getCompactionState, StateBody, state),
];

/** Answers when it has begun; get_compaction_state says when it is done. */
async function compact({ actor }: ProxyContext, request: z.infer<typeof CompactBody>, call: Call) {
  const { collectionId } = await resolveCollection(actor, request, call);
  const asked = { collectionId, ...(request.isClustering === true ? { isClustering: true } : {}) };
  const { compactionId } = await changeCatalog(actor, coordinator.compactCollection, asked, call);
  return success({ compactionID: compactionId });
}

async function state({ actor }: ProxyContext, { jobID }: z.infer<typeof StateBody>, call: Call) {
  const compactionId = wholeNumber(jobID);
  if (compactionId === undefined) throw invalid(`jobID must be a whole number, got ${jobID}`);
  const { isCompleted, remaining, completed, givenUp, reason } = await askCoordinator(
    actor,
    coordinator.getCompaction,
    { compactionId },
    call,
  );
  return success({
    compactionID: compactionId,
    state: isCompleted ? "Completed" : "Executing",
    executingPlanNumber: remaining,
    timeoutPlanNumber: givenUp ?? 0,
    completedPlanNumber: completed,
    ...(reason === undefined ? {} : { reason }),
  });
}
