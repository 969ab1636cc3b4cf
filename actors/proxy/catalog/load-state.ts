/** How far a collection is loaded: by the query views, and where they do not say, by asking its shards and the coordinator. */
import type { ActorContext } from "../../../runtime/actor.ts";
import type { Call } from "../../../runtime/bus/bus.ts";
import { asVdbError, isVdbError } from "../../../runtime/errors.ts";
import type { FilterPlan } from "../../../runtime/expr/plan.ts";
import { loadedPartitions } from "../../../runtime/partitions.ts";
import type { CollectionDoc, ShardRef } from "../../../runtime/protocol/catalog.ts";
import { loadProgress } from "../../../runtime/protocol/coordinator.ts";
import { queryShard } from "../../../runtime/protocol/streaming.ts";
import { primaryField } from "../../../runtime/schema.ts";

export interface LoadState {
  loadState: "LoadStateLoaded" | "LoadStateLoading" | "LoadStateNotLoad";
  /** Percent; absent when not loaded. */
  loadProgress?: number;
  /** Why loading does not get on; empty when it does. */
  problem: string;
}

/** One ask of a shard that may be busy loading. */
const PROBE_TIMEOUT_MS = 2_000;

/** What a collection that is still loading shows at most. */
const PROGRESS_MAX = 99;

/** @param partitionIds null: of all that are to be served */
export async function loadStateOf(
  actor: ActorContext,
  collection: CollectionDoc,
  call: Call,
  partitionIds: readonly number[] | null = null,
): Promise<LoadState> {
  const loaded = loadedPartitions(collection);
  const wanted = [...(partitionIds ?? loaded)];
  if (collection.loaded === undefined || !wanted.every((partitionId) => loaded.has(partitionId))) {
    return { loadState: "LoadStateNotLoad", problem: "" };
  }
  const unsure: CollectionDoc["shards"] = [];
  for (const shard of collection.shards) {
    const all = actor.catalog.manifest(shard.vchannel)?.segments ?? [];
    const segments = all.filter(({ partitionId }) => wanted.includes(partitionId));
    const view = actor.catalog.view(shard.vchannel)?.segments ?? {};
    const inView = segments.filter(({ segmentId }) => view[segmentId] !== undefined).length;
    if (inView < segments.length) unsure.push(shard);
  }
  // What was flushed a moment ago is served by its streaming node until the view has it.
  const answers = await Promise.all(
    unsure.map((shard) => servesAll(actor, { collection, shard, partitionIds: wanted }, call)),
  );
  if (answers.every(Boolean)) return { loadState: "LoadStateLoaded", loadProgress: 100, problem: "" };
  const { collectionId } = collection;
  const deadline = Math.min(call.deadline, actor.clock.monotonic() + PROBE_TIMEOUT_MS);
  const progress = await actor.bus
    .ask(loadProgress, {}, { collectionId, partitionIds: wanted }, { deadline })
    .catch((error: unknown) => ({ loaded: 0, total: 1, problem: asVdbError(error).message }));
  const { problem } = progress;
  const loadedPercent = Math.min(PROGRESS_MAX, Math.floor((100 * progress.loaded) / Math.max(1, progress.total)));
  return { loadState: "LoadStateLoading", loadProgress: loadedPercent, problem };
}

/** Whether the shard would answer a read now: a count of no rows costs it nothing but its plan. */
async function servesAll(
  actor: ActorContext,
  asked: { collection: CollectionDoc; shard: ShardRef; partitionIds: number[] },
  call: Call,
): Promise<boolean> {
  const { collection, shard, partitionIds } = asked;
  const owner = actor.catalog.channelOwner(shard.pchannel);
  if (owner === undefined) return false;
  const request = {
    collectionId: collection.collectionId,
    vchannel: shard.vchannel,
    freshness: { level: "eventually" as const },
    partitionIds,
    filter: noRows(collection),
    fieldIds: [],
    limit: null,
    countOnly: true,
  };
  const deadline = Math.min(call.deadline, actor.clock.monotonic() + PROBE_TIMEOUT_MS);
  try {
    await actor.bus.ask(queryShard, { nodeId: owner.nodeId }, request, { deadline });
    return true;
  } catch (error) {
    if (isVdbError(error) && error.retriable) return false;
    throw error;
  }
}

function noRows(collection: CollectionDoc): FilterPlan {
  return {
    root: { op: "constant", value: false },
    fieldIds: [],
    primaryFieldId: primaryField(collection.schema).fieldId,
  };
}
