/** /v2/vectordb/collections/* */
import { z } from "zod";
import type { Call } from "../../../runtime/bus/bus.ts";
import { VdbError } from "../../../runtime/errors.ts";
import { calledNow, DEFAULT_DATABASE_ID } from "../../../runtime/meta/catalog.ts";
import * as coordinator from "../../../runtime/protocol/coordinator.ts";
import * as api from "../../../runtime/protocol/public.ts";
import { flushShard } from "../../../runtime/protocol/streaming.ts";
import { needsDictionary } from "../../../runtime/text/field-analyzer.ts";
import { changeCatalog } from "../ask-coordinator.ts";
import { askOwner } from "../ask-owner.ts";
import { CreateCollectionBody, collectionRequest } from "../catalog/create-collection.ts";
import { describedCollection } from "../catalog/describe.ts";
import { loadDefaults } from "../catalog/load-defaults.ts";
import { LoadOptions, loadRequest } from "../catalog/load-request.ts";
import { loadStateOf } from "../catalog/load-state.ts";
import { makeIndexes } from "../catalog/make-indexes.ts";
import { untilAllOwnersKnow } from "../catalog/until-owners-know.ts";
import { newestRoute, type ProxyContext, type Route, route, success } from "../context.ts";
import { countRows } from "../count-rows.ts";
import { CollectionBody, optional } from "../parse-body.ts";
import { findCollection, namedPartitions, resolveCollection, resolveDatabase, resolveWhere } from "../resolve.ts";

const ListBody = z.object({ dbName: optional(z.string()), withDetails: optional(z.boolean()) });
const LoadStateBody = CollectionBody.extend({ partitionNames: optional(z.array(z.string())) });
const LoadBody = CollectionBody.extend(LoadOptions);

export const collectionRoutes: Route[] = [
  newestRoute(api.listCollections, ListBody, list),
  route(api.hasCollection, CollectionBody, has),
  route(api.describeCollection, CollectionBody, describe),
  route(api.getCollectionStats, CollectionBody, stats),
  route(api.getLoadState, LoadStateBody, loadState),
  route(api.createCollection, CreateCollectionBody, create),
  newestRoute(api.dropCollection, CollectionBody, drop),
  newestRoute(api.loadCollection, LoadBody, load),
  newestRoute(api.releaseCollection, CollectionBody, release),
  newestRoute(api.flushCollection, CollectionBody, flush),
];

/** Those that the caller has to do with. With details: beside the names, in their order, what a list of collections usually shows. */
async function list({ actor, access }: ProxyContext, { dbName, withDetails }: z.infer<typeof ListBody>, call: Call) {
  const database = await resolveDatabase(actor, dbName, call);
  const caller = access.callerOf(call);
  const collections = actor.catalog
    .collections()
    .filter((each) => each.database === database && (caller === undefined || caller.sees(database, each.name)));
  collections.sort((a, b) => (a.name < b.name ? -1 : 1));
  const names = collections.map(({ name }) => name);
  if (withDetails !== true) return success(names);
  const details = collections.map(({ name, collectionId, createdAt, shards, loaded }) => ({
    collectionName: name,
    collectionID: collectionId,
    createdTimestamp: String(createdAt),
    shardsNum: shards.length,
    isLoaded: loaded !== undefined,
  }));
  return success(names, { details });
}

async function has({ actor }: ProxyContext, request: CollectionBody, call: Call) {
  return success({ has: (await findCollection(actor, request, call)) !== undefined });
}

async function describe({ actor }: ProxyContext, request: CollectionBody, call: Call) {
  const collection = await resolveCollection(actor, request, call);
  const described = describedCollection(collection, await loadStateOf(actor, collection, call));
  const database = actor.catalog.database(collection.database);
  return success({ ...described, dbID: database?.databaseId ?? DEFAULT_DATABASE_ID });
}

async function stats(proxy: ProxyContext, request: CollectionBody, call: Call) {
  const collection = await resolveCollection(proxy.actor, request, call);
  return success({ rowCount: await countRows(proxy, collection, undefined, call) });
}

async function loadState({ actor }: ProxyContext, request: z.infer<typeof LoadStateBody>, call: Call) {
  const collection = await resolveWhere(actor, request, call, ({ loaded }) => loaded !== undefined);
  const partitionIds = namedPartitions(collection, request.partitionNames);
  const { problem, ...state } = await loadStateOf(actor, collection, call, partitionIds);
  return success(state, { message: problem });
}

async function create({ actor }: ProxyContext, body: CreateCollectionBody, call: Call) {
  const database = await resolveDatabase(actor, body.dbName, call);
  const { indexes, shardCount, ...request } = collectionRequest(body);
  const { collectionId, revision } = await changeCatalog(
    actor,
    coordinator.createCollection,
    { ...request, database, shardCount },
    call,
  );
  // The first of its texts would wait for it, and everybody else with it.
  if (request.fields.some(needsDictionary)) await actor.machine.loadDictionary?.();
  if (indexes.length > 0) {
    const collection = actor.catalog.collection(collectionId);
    if (collection === undefined)
      throw new VdbError("unexpected", `collection ${request.name} was dropped while it was created`);
    await makeIndexes(actor, collection, indexes, call);
    const wished = loadDefaults(actor.catalog, collection);
    await changeCatalog(actor, coordinator.loadCollection, { collectionId, ...wished }, call);
  }
  // Its rows must not be taken by whoever still knows one of its name that was before. Last: it is whole if an owner is away.
  await untilAllOwnersKnow(actor, revision, call);
  return success({});
}

/** Of an unknown collection: nothing to do, as in Milvus. */
async function drop({ actor }: ProxyContext, request: CollectionBody, call: Call) {
  const collection = await findCollection(actor, request, call);
  if (collection !== undefined) {
    if (collection.name !== request.collectionName) {
      throw new VdbError("alias_not_found", `cannot drop the collection via alias = ${request.collectionName}`);
    }
    await changeCatalog(actor, coordinator.dropCollection, calledNow(collection), call);
  }
  // A row that is written from now on must not be taken by whoever still knows the collection: nor if it was dropped before.
  await untilAllOwnersKnow(actor, actor.catalog.cache.revision, call);
  return success({});
}

/** Answers when loading has begun; get_load_state says how far it is. */
async function load({ actor }: ProxyContext, request: z.infer<typeof LoadBody>, call: Call) {
  const collection = await resolveCollection(actor, request, call);
  await changeCatalog(actor, coordinator.loadCollection, loadRequest(actor.catalog, collection, request), call);
  return success({});
}

async function release({ actor }: ProxyContext, request: CollectionBody, call: Call) {
  const collection = await resolveCollection(actor, request, call);
  await changeCatalog(actor, coordinator.releaseCollection, calledNow(collection), call);
  return success({});
}

/** Answers when everything written before is in objects. Nothing needs it to be durable or visible. */
async function flush({ actor }: ProxyContext, request: CollectionBody, call: Call) {
  const collection = await resolveCollection(actor, request, call);
  const { collectionId, shards } = collection;
  await Promise.all(
    shards.map((shard) =>
      askOwner(actor, flushShard, { collection, shard }, { collectionId, vchannel: shard.vchannel }, call),
    ),
  );
  return success({});
}
