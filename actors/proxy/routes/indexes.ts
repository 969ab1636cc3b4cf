/** /v2/vectordb/indexes/* */
import { z } from "zod";
import type { Call } from "../../../runtime/bus/bus.ts";
import { VdbError } from "../../../runtime/errors.ts";
import type { CollectionDoc } from "../../../runtime/protocol/catalog.ts";
import * as coordinator from "../../../runtime/protocol/coordinator.ts";
import * as api from "../../../runtime/protocol/public.ts";
import { changeCatalog } from "../ask-coordinator.ts";
import { describedIndex } from "../catalog/describe.ts";
import { invalid } from "../catalog/field-spec.ts";
import { IndexBody, indexRequest } from "../catalog/index-request.ts";
import { makeIndexes } from "../catalog/make-indexes.ts";
import { checkProperties, flag, oneOf, type PropertyCheck } from "../catalog/properties.ts";
import { newestRoute, type ProxyContext, type Route, route, success } from "../context.ts";
import { CollectionBody, optional, PropertiesField } from "../parse-body.ts";
import { resolveCollection, resolveWhere } from "../resolve.ts";

const CreateIndexBody = CollectionBody.extend({ indexParams: z.array(IndexBody).min(1) });
const IndexNameBody = CollectionBody.extend({ indexName: z.string().min(1) });
type IndexNameBody = z.infer<typeof IndexNameBody>;
const PropertiesBody = IndexNameBody.extend({ properties: PropertiesField });
const PropertyKeysBody = IndexNameBody.extend({ propertyKeys: optional(z.array(z.string())) });

/** Of an index; what else it is made with is fixed. */
const PROPERTIES: Readonly<Record<string, PropertyCheck>> = {
  "mmap.enabled": flag,
  "indexoffsetcache.enabled": flag,
  warmup: oneOf("sync", "disable", "async"),
};

export const indexRoutes: Route[] = [
  route(api.listIndexes, CollectionBody, list),
  route(api.describeIndex, IndexNameBody, describe),
  newestRoute(api.createIndex, CreateIndexBody, create),
  newestRoute(api.dropIndex, IndexNameBody, drop),
  newestRoute(api.alterIndexProperties, PropertiesBody, alterProperties),
  newestRoute(api.dropIndexProperties, PropertyKeysBody, dropProperties),
];

async function list({ actor }: ProxyContext, request: CollectionBody, call: Call) {
  const collection = await resolveWhere(actor, request, call, ({ indexes }) => indexes.length > 0);
  return success(collection.indexes.map(({ name }) => name));
}

async function describe({ actor }: ProxyContext, request: IndexNameBody, call: Call) {
  const isNamed = (collection: CollectionDoc) => collection.indexes.some(({ name }) => name === request.indexName);
  const collection = await resolveWhere(actor, request, call, isNamed);
  const index = collection.indexes.find(({ name }) => name === request.indexName);
  if (index === undefined) {
    throw new VdbError("index_not_found", `index not found[collection=${collection.name}][index=${request.indexName}]`);
  }
  return success([describedIndex(actor.catalog, collection, index, actor.config.coordinator.indexRowsMin)]);
}

async function create({ actor }: ProxyContext, request: z.infer<typeof CreateIndexBody>, call: Call) {
  const collection = await resolveCollection(actor, request, call);
  const requests = request.indexParams.map((index) => indexRequest(index, collection.schema.fields));
  await makeIndexes(actor, collection, requests, call);
  return success({});
}

/** Of an unknown index: nothing to do, as in Milvus. */
async function drop({ actor }: ProxyContext, { indexName, ...name }: IndexNameBody, call: Call) {
  const { collectionId, indexes } = await resolveCollection(actor, name, call);
  const dropped = indexes.find(({ name: known }) => known === indexName);
  if (dropped === undefined) return success({});
  const { indexId } = dropped;
  await changeCatalog(actor, coordinator.dropIndex, { collectionId, indexName, indexId }, call);
  return success({});
}

async function alterProperties({ actor }: ProxyContext, request: z.infer<typeof PropertiesBody>, call: Call) {
  const { indexName, properties, ...name } = request;
  const { collectionId } = await resolveCollection(actor, name, call);
  const set = checkProperties(properties ?? {}, PROPERTIES);
  if (Object.keys(set).length === 0) throw invalid("no properties or delete keys provided");
  await changeCatalog(actor, coordinator.alterIndex, { collectionId, indexName, set, remove: [] }, call);
  return success({});
}

async function dropProperties({ actor }: ProxyContext, request: z.infer<typeof PropertyKeysBody>, call: Call) {
  const { indexName, propertyKeys = [], ...name } = request;
  const { collectionId } = await resolveCollection(actor, name, call);
  if (propertyKeys.length === 0) throw invalid("no properties or delete keys provided");
  for (const key of propertyKeys) {
    if (!Object.hasOwn(PROPERTIES, key)) throw invalid(`property ${key} is not supported`);
  }
  await changeCatalog(actor, coordinator.alterIndex, { collectionId, indexName, set: {}, remove: propertyKeys }, call);
  return success({});
}
