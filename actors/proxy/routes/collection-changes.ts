/** /v2/vectordb/collections/*: what changes a collection that is there. */
import { z } from "zod";
import type { ActorContext } from "../../../runtime/actor.ts";
import type { Call } from "../../../runtime/bus/bus.ts";
import { VdbError } from "../../../runtime/errors.ts";
import { calledNow } from "../../../runtime/meta/catalog.ts";
import type { CollectionDoc } from "../../../runtime/protocol/catalog.ts";
import * as coordinator from "../../../runtime/protocol/coordinator.ts";
import * as api from "../../../runtime/protocol/public.ts";
import { shardStats } from "../../../runtime/protocol/streaming.ts";
import { TTL_PROPERTY } from "../../../runtime/ttl.ts";
import { changeCatalog } from "../ask-coordinator.ts";
import { askOwner } from "../ask-owner.ts";
import {
  alteredCollectionProperties,
  checkPropertyChange,
  collectionPropertyKeys,
  DYNAMIC_PROPERTY,
} from "../catalog/collection-properties.ts";
import { invalid } from "../catalog/field-spec.ts";
import { untilAllOwnersKnow, untilOwnersKnow } from "../catalog/until-owners-know.ts";
import { newestRoute, type ProxyContext, type Route, route, success } from "../context.ts";
import { checkCollectionName } from "../names.ts";
import { CollectionBody, optional, PropertiesField } from "../parse-body.ts";
import { databaseName, resolveCollection, resolveDatabase, resolveLoaded } from "../resolve.ts";
import { RequestIdField } from "../write-entities.ts";

const RenameBody = CollectionBody.extend({
  newCollectionName: z.string().min(1),
  newDbName: optional(z.string()),
});
/** requestId: whoever sends the request again with the same one has rows taken away once. */
const TruncateBody = CollectionBody.extend({ requestId: RequestIdField });
const PropertiesBody = CollectionBody.extend({ properties: PropertiesField });
const PropertyKeysBody = CollectionBody.extend({ propertyKeys: optional(z.array(z.string())) });
const FunctionBody = z.object({ name: z.string().min(1), type: z.string().min(1) });
const AddFunctionBody = CollectionBody.extend({ function: FunctionBody });
const FunctionNameBody = CollectionBody.extend({ functionName: z.string().min(1) });
const AlterFunctionBody = FunctionNameBody.extend({ function: FunctionBody });

const FUNCTION_TYPES = ["BM25", "TextEmbedding", "Rerank"];

export const collectionChangeRoutes: Route[] = [
  newestRoute(api.renameCollection, RenameBody, rename),
  newestRoute(api.truncateCollection, TruncateBody, truncate),
  route(api.refreshLoad, CollectionBody, refreshLoad),
  newestRoute(api.alterCollectionProperties, PropertiesBody, alterProperties),
  newestRoute(api.dropCollectionProperties, PropertyKeysBody, dropProperties),
  route(api.addFunction, AddFunctionBody, addFunction),
  route(api.alterFunction, AlterFunctionBody, alterFunction),
  route(api.dropFunction, FunctionNameBody, dropFunction),
];

async function rename({ actor }: ProxyContext, request: z.infer<typeof RenameBody>, call: Call) {
  const { newCollectionName: name, newDbName, ...source } = request;
  checkCollectionName(name);
  const from = databaseName(source.dbName);
  const to = newDbName === undefined || newDbName === "" ? from : newDbName;
  if (from === to && source.collectionName === name) {
    throw invalid(
      `invalid parameter: collection name or database name should be different: ${from}.${name} is what it is called`,
    );
  }
  const renamed = await resolveOwnName(
    actor,
    source,
    call,
    (alias) => new VdbError("unexpected", `unsupported use an alias to rename collection, alias:${alias}`),
  );
  const database = await resolveDatabase(actor, to, call);
  const asked = { ...calledNow(renamed), database, name };
  const { revision } = await changeCatalog(actor, coordinator.renameCollection, asked, call);
  // What is written or read by either name from now on must not go by what the name stood for.
  await untilAllOwnersKnow(actor, revision, call);
  return success({});
}

/** The collection of that name; an alias of one is refused. */
async function resolveOwnName(
  actor: ActorContext,
  request: CollectionBody,
  call: Call,
  refuse: (alias: string) => VdbError,
): Promise<CollectionDoc> {
  const collection = await resolveCollection(actor, request, call);
  if (collection.name !== request.collectionName) throw refuse(request.collectionName);
  return collection;
}

/**
 * Takes all rows away. Once it answers, no row written before is seen by anybody, and every row written from then on is:
 * the owners of the shards that come after are asked until they know them, and with them that the others are gone.
 * A write on its way at the same time is before or after as a whole: a part of it that finds its shard gone has the
 * whole request done again (retry-truncated.ts).
 */
async function truncate({ actor }: ProxyContext, given: z.infer<typeof TruncateBody>, call: Call) {
  const { requestId, ...request } = given;
  const truncated = await resolveCollection(actor, request, call);
  const { collectionId } = truncated;
  const vchannels = truncated.shards.map(({ vchannel }) => vchannel);
  const asked = { ...calledNow(truncated), vchannels, ...(requestId === undefined ? {} : { requestId }) };
  await changeCatalog(actor, coordinator.truncateCollection, asked, call);
  const collection = actor.catalog.collection(collectionId);
  await Promise.all(
    (collection?.shards ?? []).map((shard) =>
      askOwner(actor, shardStats, { collection: collection!, shard }, { collectionId, vchannel: shard.vchannel }, call),
    ),
  );
  return success({});
}

/** What files brought in is loaded as soon as it is there: nothing waits to be asked for. */
async function refreshLoad({ actor }: ProxyContext, request: CollectionBody, call: Call) {
  await resolveLoaded(actor, request, call);
  return success({});
}

async function alterProperties({ actor }: ProxyContext, request: z.infer<typeof PropertiesBody>, call: Call) {
  const { properties, ...name } = request;
  const collection = await resolveCollection(actor, name, call);
  const set = alteredCollectionProperties(properties ?? {});
  await changeProperties(actor, collection, { set, remove: [] }, call);
  return success({});
}

async function dropProperties({ actor }: ProxyContext, request: z.infer<typeof PropertyKeysBody>, call: Call) {
  const { propertyKeys = [], ...name } = request;
  const collection = await resolveCollection(actor, name, call);
  await changeProperties(actor, collection, { set: {}, remove: collectionPropertyKeys(propertyKeys) }, call);
  return success({});
}

async function changeProperties(
  actor: ActorContext,
  collection: CollectionDoc,
  change: { set: Record<string, string>; remove: string[] },
  call: Call,
): Promise<void> {
  if (Object.keys(change.set).length === 0 && change.remove.length === 0) {
    throw invalid("no properties or delete keys provided");
  }
  checkPropertyChange(collection, change);
  const { collectionId } = collection;
  const { revision } = await changeCatalog(actor, coordinator.alterCollection, { collectionId, ...change }, call);
  // What rows are still seen, and what rows may have, is for the owners of the shards to say.
  const isTheirs = [TTL_PROPERTY, DYNAMIC_PROPERTY].some((key) => key in change.set || change.remove.includes(key));
  if (isTheirs) await untilOwnersKnow(actor, collectionId, revision, call);
}

/** A function is given with the collection: rows that are there already would have no output of a later one. */
async function addFunction(
  { actor }: ProxyContext,
  request: z.infer<typeof AddFunctionBody>,
  call: Call,
): Promise<never> {
  const { function: given, ...name } = request;
  const { schema } = await resolveCollection(actor, name, call);
  checkFunctionType(given.type);
  if (schema.functions?.some((each) => each.name === given.name) === true) {
    throw invalid(`duplicate function name ${given.name}`);
  }
  throw notChangeable("adding", given.type);
}

async function alterFunction(
  { actor }: ProxyContext,
  request: z.infer<typeof AlterFunctionBody>,
  call: Call,
): Promise<never> {
  const { functionName, function: given, ...name } = request;
  checkFunctionType(given.type);
  const { type } = await resolveFunction(actor, name, functionName, call);
  if (given.name !== functionName) throw invalid(`function name cannot be changed: ${functionName} to ${given.name}`);
  throw notChangeable("altering", type);
}

async function dropFunction(
  { actor }: ProxyContext,
  request: z.infer<typeof FunctionNameBody>,
  call: Call,
): Promise<never> {
  const { functionName, ...name } = request;
  const { type } = await resolveFunction(actor, name, functionName, call);
  throw notChangeable("dropping", type);
}

async function resolveFunction(actor: ActorContext, name: CollectionBody, functionName: string, call: Call) {
  const { schema } = await resolveCollection(actor, name, call);
  const found = schema.functions?.find((each) => each.name === functionName);
  if (found === undefined) throw invalid(`function ${functionName} not exists in collection ${name.collectionName}`);
  return found;
}

function checkFunctionType(type: string): void {
  if (!FUNCTION_TYPES.includes(type)) throw invalid(`unsupported function type: ${type}`);
}

function notChangeable(what: string, type: string): VdbError {
  if (type === "BM25") return invalid(`Currently does not support ${what} BM25 function: make the collection with it`);
  return new VdbError("unimplemented", `functions of type ${type} are not supported`);
}
