/** /v2/vectordb/partitions/* */
import { z } from "zod";
import type { Call } from "../../../runtime/bus/bus.ts";
import { VdbError } from "../../../runtime/errors.ts";
import { calledNow } from "../../../runtime/meta/catalog.ts";
import { loadedPartitions, partitionKeyField } from "../../../runtime/partitions.ts";
import type { CollectionDoc } from "../../../runtime/protocol/catalog.ts";
import * as coordinator from "../../../runtime/protocol/coordinator.ts";
import * as api from "../../../runtime/protocol/public.ts";
import { changeCatalog } from "../ask-coordinator.ts";
import { LoadOptions, loadRequest } from "../catalog/load-request.ts";
import { untilOwnersKnow } from "../catalog/until-owners-know.ts";
import { newestRoute, type ProxyContext, type Route, route, success } from "../context.ts";
import { countRows } from "../count-rows.ts";
import { checkPartitionName } from "../names.ts";
import { CollectionBody, optional } from "../parse-body.ts";
import { namedPartition, resolveCollection } from "../resolve.ts";

const ListBody = CollectionBody.extend({ withDetails: optional(z.boolean()) });
const PartitionBody = CollectionBody.extend({ partitionName: z.string().min(1) });
const PartitionsBody = CollectionBody.extend({ partitionNames: z.array(z.string()).min(1) });
const LoadBody = PartitionsBody.extend(LoadOptions);

export const partitionRoutes: Route[] = [
  newestRoute(api.listPartitions, ListBody, list),
  route(api.hasPartition, PartitionBody, has),
  route(api.getPartitionStats, PartitionBody, stats),
  newestRoute(api.createPartition, PartitionBody, create),
  newestRoute(api.dropPartition, PartitionBody, drop),
  newestRoute(api.loadPartitions, LoadBody, load),
  newestRoute(api.releasePartitions, PartitionsBody, release),
];

/** With details: those beside the names. */
async function list({ actor }: ProxyContext, { withDetails, ...request }: z.infer<typeof ListBody>, call: Call) {
  const collection = await resolveCollection(actor, request, call);
  const names = collection.partitions.map(({ name }) => name);
  if (withDetails !== true) return success(names);
  const loaded = loadedPartitions(collection);
  const details = collection.partitions.map(({ name, partitionId }) => ({
    partitionName: name,
    partitionID: partitionId,
    // When a partition was made is not kept.
    createdTimestamp: String(collection.createdAt),
    isLoaded: loaded.has(partitionId),
  }));
  return success(names, { details });
}

async function has({ actor }: ProxyContext, request: z.infer<typeof PartitionBody>, call: Call) {
  const { partitions } = await resolveCollection(actor, request, call);
  return success({ has: partitions.some(({ name }) => name === request.partitionName) });
}

async function stats(proxy: ProxyContext, request: z.infer<typeof PartitionBody>, call: Call) {
  const collection = await resolveCollection(proxy.actor, request, call);
  const partitionId = namedPartition(collection, request.partitionName);
  return success({ rowCount: await countRows(proxy, collection, partitionId, call) });
}

/** Of a name that there is already: nothing to do, as in Milvus. */
async function create({ actor }: ProxyContext, body: z.infer<typeof PartitionBody>, call: Call) {
  const { partitionName: name, ...request } = body;
  checkPartitionName(name);
  const { collectionId } = await resolveCollection(actor, request, call);
  const { revision } = await changeCatalog(actor, coordinator.createPartition, { collectionId, name }, call);
  // Nor must its rows be taken by whoever still knows one of its name that was before.
  await untilOwnersKnow(actor, collectionId, revision, call);
  return success({});
}

/** Of an unknown partition: nothing to do, as in Milvus. */
async function drop({ actor }: ProxyContext, request: z.infer<typeof PartitionBody>, call: Call) {
  checkPartitionName(request.partitionName);
  const collection = await resolveCollection(actor, request, call);
  refuseKeyed(collection, "drop partition");
  const { collectionId, partitions } = collection;
  const found = partitions.find(({ name }) => name === request.partitionName);
  if (found !== undefined) {
    const dropped = { ...calledNow(collection), partitionId: found.partitionId };
    await changeCatalog(actor, coordinator.dropPartition, dropped, call);
  }
  // A row that is written from now on must not be taken by whoever still knows the partition: nor if it was dropped before.
  await untilOwnersKnow(actor, collectionId, actor.catalog.cache.revision, call);
  return success({});
}

/** Answers when loading has begun; get_load_state says how far it is. */
async function load({ actor }: ProxyContext, request: z.infer<typeof LoadBody>, call: Call) {
  const collection = await resolveCollection(actor, request, call);
  refuseKeyed(collection, "load partitions");
  const partitionIds = request.partitionNames.map((name) => namedPartition(collection, name));
  await changeCatalog(
    actor,
    coordinator.loadCollection,
    { ...loadRequest(actor.catalog, collection, request), partitionIds },
    call,
  );
  return success({});
}

async function release({ actor }: ProxyContext, request: z.infer<typeof PartitionsBody>, call: Call) {
  const collection = await resolveCollection(actor, request, call);
  refuseKeyed(collection, "release partitions");
  const partitionIds = request.partitionNames.map((name) => namedPartition(collection, name));
  await changeCatalog(actor, coordinator.releasePartitions, { ...calledNow(collection), partitionIds }, call);
  return success({});
}

function refuseKeyed({ schema }: CollectionDoc, what: string): void {
  if (partitionKeyField(schema) === undefined) return;
  throw new VdbError("unexpected", `disable ${what} if partition key mode is used`);
}
