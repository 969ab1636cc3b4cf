/** /v2/vectordb/aliases/* */
import { z } from "zod";
import type { ActorContext } from "../../../runtime/actor.ts";
import type { Call } from "../../../runtime/bus/bus.ts";
import { VdbError } from "../../../runtime/errors.ts";
import * as coordinator from "../../../runtime/protocol/coordinator.ts";
import * as api from "../../../runtime/protocol/public.ts";
import { resolvedFor } from "../access/resolved.ts";
import { changeCatalog } from "../ask-coordinator.ts";
import { untilAllOwnersKnow } from "../catalog/until-owners-know.ts";
import { newestRoute, type ProxyContext, type Route, route, success } from "../context.ts";
import { checkAlias } from "../names.ts";
import { optional } from "../parse-body.ts";
import { findCollection, resolveCollection, resolveDatabase } from "../resolve.ts";

const AliasBody = z.object({ dbName: optional(z.string()), aliasName: z.string().min(1) });
const TargetBody = AliasBody.extend({ collectionName: z.string().min(1) });
const ListBody = z.object({ dbName: optional(z.string()), collectionName: optional(z.string()) });

export const aliasRoutes: Route[] = [
  newestRoute(api.listAliases, ListBody, list),
  route(api.describeAlias, AliasBody, describe),
  newestRoute(api.createAlias, TargetBody, (proxy, request, call) =>
    point(proxy, coordinator.createAlias, request, call),
  ),
  newestRoute(api.alterAlias, TargetBody, (proxy, request, call) =>
    point(proxy, coordinator.alterAlias, request, call),
  ),
  newestRoute(api.dropAlias, AliasBody, drop),
];

/** Of one collection, or of a whole database. */
async function list({ actor }: ProxyContext, request: z.infer<typeof ListBody>, call: Call) {
  const { dbName, collectionName = "" } = request;
  const database = await resolveDatabase(actor, dbName, call);
  const collections =
    collectionName === ""
      ? actor.catalog.collections().filter((collection) => collection.database === database)
      : [await resolveCollection(actor, { dbName, collectionName }, call)];
  return success(collections.flatMap(({ aliases = [] }) => aliases).sort());
}

async function describe({ actor }: ProxyContext, request: z.infer<typeof AliasBody>, call: Call) {
  const { database, name } = await resolveAlias(actor, request, call);
  return success({ dbName: database, collectionName: name, aliasName: request.aliasName });
}

/** To an alias as the collection's name: to the collection that it stands for. */
async function point(
  { actor }: ProxyContext,
  operation: typeof coordinator.createAlias | typeof coordinator.alterAlias,
  { aliasName, ...target }: z.infer<typeof TargetBody>,
  call: Call,
) {
  checkAlias(aliasName);
  const { collectionId, database } = await resolveCollection(actor, target, call);
  const holder = actor.catalog.collectionByName(database, aliasName);
  // Who may not take it from the collection that has it is refused.
  if (holder !== undefined) resolvedFor(call, holder);
  const { revision } = await changeCatalog(actor, operation, { database, alias: aliasName, collectionId }, call);
  // A write by it must not be taken by whoever still knows a collection of its name that was before.
  await untilAllOwnersKnow(actor, revision, call);
  return success({});
}

async function drop({ actor }: ProxyContext, request: z.infer<typeof AliasBody>, call: Call) {
  const { database, collectionId } = await resolveAlias(actor, request, call);
  await changeCatalog(actor, coordinator.dropAlias, { database, alias: request.aliasName, collectionId }, call);
  return success({});
}

/** The collection that it stands for. @throws VdbError alias_not_found */
async function resolveAlias(actor: ActorContext, request: z.infer<typeof AliasBody>, call: Call) {
  const { dbName, aliasName } = request;
  const collection = await findCollection(actor, { dbName, collectionName: aliasName }, call);
  if (collection !== undefined && collection.name !== aliasName) return collection;
  const database = await resolveDatabase(actor, dbName, call);
  throw new VdbError("alias_not_found", `alias not found[database=${database}][alias=${aliasName}]`);
}
