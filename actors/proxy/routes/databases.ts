/** /v2/vectordb/databases/* */
import { z } from "zod";
import type { ActorContext } from "../../../runtime/actor.ts";
import type { Call } from "../../../runtime/bus/bus.ts";
import { VdbError } from "../../../runtime/errors.ts";
import { DEFAULT_DATABASE, DEFAULT_DATABASE_ID } from "../../../runtime/meta/catalog.ts";
import * as coordinator from "../../../runtime/protocol/coordinator.ts";
import * as api from "../../../runtime/protocol/public.ts";
import { askCoordinator, changeCatalog } from "../ask-coordinator.ts";
import { databaseProperties, databasePropertyKeys } from "../catalog/database-properties.ts";
import { keyValues } from "../catalog/describe.ts";
import { newestRoute, type ProxyContext, type Route, route, success } from "../context.ts";
import { checkDatabaseName } from "../names.ts";
import { optional, PropertiesField } from "../parse-body.ts";
import { resolveDatabase } from "../resolve.ts";

const DatabaseBody = z.object({ dbName: z.string().min(1) });
const ListBody = z.object({ withDetails: optional(z.boolean()) });
const PropertiesBody = DatabaseBody.extend({ properties: PropertiesField });
const PropertyKeysBody = DatabaseBody.extend({ propertyKeys: optional(z.array(z.string())) });

export const databaseRoutes: Route[] = [
  route(api.createDatabase, PropertiesBody, create),
  newestRoute(api.dropDatabase, DatabaseBody, drop),
  newestRoute(api.listDatabases, ListBody, list),
  route(api.describeDatabase, DatabaseBody, describe),
  route(api.alterDatabase, PropertiesBody, alter),
  route(api.alterDatabaseProperties, PropertiesBody, alter),
  route(api.dropDatabaseProperties, PropertyKeysBody, dropProperties),
];

async function create({ actor }: ProxyContext, request: z.infer<typeof PropertiesBody>, call: Call) {
  const { dbName: name } = request;
  checkDatabaseName(name);
  const properties = databaseProperties(request.properties ?? {});
  // The very first id is the default database's.
  const { first } = await askCoordinator(actor, coordinator.allocateIds, { count: 2 }, call);
  const databaseId = first + 1;
  await changeCatalog(actor, coordinator.createDatabase, { databaseId, name, properties }, call);
  return success({});
}

async function drop({ actor }: ProxyContext, { dbName }: z.infer<typeof DatabaseBody>, call: Call) {
  const name = await resolveDatabase(actor, dbName, call);
  const databaseId = actor.catalog.database(name)?.databaseId;
  const dropped = { name, ...(databaseId === undefined ? {} : { databaseId }) };
  await changeCatalog(actor, coordinator.dropDatabase, dropped, call);
  return success({});
}

/** Those that the caller has to do with. */
async function list({ actor, access }: ProxyContext, { withDetails }: z.infer<typeof ListBody>, call: Call) {
  const others = actor.catalog.databases().map(({ name }) => name);
  others.sort((a, b) => (a < b ? -1 : 1));
  const caller = access.callerOf(call);
  const names = [DEFAULT_DATABASE, ...others.filter((name) => name !== DEFAULT_DATABASE)].filter(
    (name) => caller === undefined || caller.sees(name),
  );
  if (withDetails !== true) return success(names);
  return success(names, { details: names.map((name) => described(actor, name)) });
}

async function describe({ actor }: ProxyContext, { dbName }: z.infer<typeof DatabaseBody>, call: Call) {
  return success(described(actor, await resolveDatabase(actor, dbName, call)));
}

/** The default database has a document only once it has properties. */
function described({ catalog }: ActorContext, name: string): Record<string, unknown> {
  const { databaseId, properties, createdAt } = catalog.database(name) ?? {
    databaseId: DEFAULT_DATABASE_ID,
    properties: {},
    createdAt: 0n,
  };
  return {
    dbName: name,
    dbID: databaseId,
    createdTimestamp: String(createdAt),
    properties: keyValues(properties),
  };
}

async function alter({ actor }: ProxyContext, request: z.infer<typeof PropertiesBody>, call: Call) {
  const { dbName, properties } = request;
  const name = await resolveDatabase(actor, dbName, call);
  const set = databaseProperties(properties ?? {});
  if (Object.keys(set).length === 0) throw nothingToAlter();
  await changeCatalog(actor, coordinator.alterDatabase, { name, set, remove: [] }, call);
  return success({});
}

async function dropProperties({ actor }: ProxyContext, request: z.infer<typeof PropertyKeysBody>, call: Call) {
  const { dbName, propertyKeys = [] } = request;
  const name = await resolveDatabase(actor, dbName, call);
  const remove = databasePropertyKeys(propertyKeys);
  if (remove.length === 0) throw nothingToAlter();
  await changeCatalog(actor, coordinator.alterDatabase, { name, set: {}, remove }, call);
  return success({});
}

function nothingToAlter(): VdbError {
  return new VdbError("unexpected", "alter database with empty properties and delete keys");
}
