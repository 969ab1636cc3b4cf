/** entities/insert and entities/upsert: checks the rows, makes keys where needed, sends them to the shards. */
import { z } from "zod";
import type { Call } from "../../runtime/bus/bus.ts";
import { VdbError } from "../../runtime/errors.ts";
import type { CollectionDoc } from "../../runtime/protocol/catalog.ts";
import type { PublicReply } from "../../runtime/protocol/public.ts";
import { toBatchInTurns } from "../../runtime/rows/batch-in-turns.ts";
import { keysFrom } from "../../runtime/rows/generated-keys.ts";
import { bringsKeys, type GivenRows, givenRows, primaryKeysOf, refuseKeys } from "../../runtime/rows/given-rows.ts";
import { primaryField } from "../../runtime/schema.ts";
import type { PrimaryKey } from "../../runtime/segment/column.ts";
import { columnRows } from "../../runtime/segment/gather.ts";
import type { KeyColumn } from "../../runtime/segment/keys.ts";
import { shownKey } from "./columns-to-rows.ts";
import { type ProxyContext, success } from "./context.ts";
import { writeByNewest } from "./newest-schema.ts";
import { CollectionBody, optional } from "./parse-body.ts";
import { partitionIdOf, resolveLoaded, resolveToWrite } from "./resolve.ts";
import { timeZoneOf } from "./time-zone.ts";
import type { FieldOp } from "./write/overlay-rows.ts";
import { FieldOps, fieldOpsOf, upsertByFilter, upsertPartially } from "./write/partial-upsert.ts";
import { refuseRepeatedKeys } from "./write/repeated-keys.ts";
import type { Write } from "./write/route-writes.ts";
import { plainRows } from "./write/rows-of-columns.ts";
import { refuseStale } from "./write/schema-timestamp.ts";
import { sendWrite, withFirstId } from "./write/send-write.ts";

/** The log takes ids of 64 characters; the rest is for what is appended here. */
const REQUEST_ID_CHARS_MAX = 40;
/** As ids of a request's parts end: one of a client that is like them would be taken for a part that is stored already. */
const PART_ENDING = /\.[0-9a-z-]+$/;

export const RequestIdField = optional(z.string());

export const InsertBody = CollectionBody.extend({
  partitionName: optional(z.string()),
  data: optional(z.unknown()),
  /** Instead of data: columns by field, {name, column, valid} (runtime/rows/given-columns.ts). */
  columns: optional(z.unknown()),
  /** With columns: how many rows there are; absent: as many as the first column has. */
  rowCount: optional(z.int().min(0)),
  /** Which schema the rows were made for, as `describe` gives it: a collection with another schema refuses them. 0: any. */
  schemaTimestamp: optional(z.unknown()),
  requestId: RequestIdField,
  /** The first of the ids that the client reserved, or that a failure named (`details.firstId`): the rows get these. */
  firstId: optional(z.int().min(1)),
  /** False: int64 in the reply is text. */
  acceptTypeAllowInt64: optional(z.boolean()),
  /** The form of the ids in the reply: a list, or a column. */
  resultFormat: optional(z.enum(["rows", "columns"])),
});

export const UpsertBody = InsertBody.extend({
  /** Rows may give only some fields; rows that exist keep the others. */
  partialUpdate: optional(z.boolean()),
  /** How a given field changes the old one. Any but REPLACE implies partialUpdate. */
  fieldOps: FieldOps,
  /** Beyond Milvus: the one row of data is laid over every row that matches. */
  filter: optional(z.string()),
  exprParams: optional(z.record(z.string(), z.unknown())),
});
type InsertBody = z.infer<typeof InsertBody>;
type UpsertBody = z.infer<typeof UpsertBody>;

export async function insertEntities(proxy: ProxyContext, body: InsertBody, call: Call): Promise<PublicReply> {
  const request = repeatable(proxy, body);
  const { keys, ts } = await writeByNewest(proxy.actor, request, call, (again) =>
    writeRows(proxy, again, "insert", call),
  );
  const data = { insertCount: columnRows(keys), insertIds: shownIds(keys, request) };
  return success(data, { cost: 0, sessionTs: String(ts) });
}

export async function upsertEntities(proxy: ProxyContext, body: UpsertBody, call: Call): Promise<PublicReply> {
  const request = repeatable(proxy, body);
  const ops = fieldOpsOf(request.fieldOps);
  const isByFilter = request.filter !== undefined && request.filter.trim() !== "";
  const isPartial = request.partialUpdate === true || [...ops.values()].some((op) => op !== "REPLACE");
  const { keys, ts } = await writeByNewest(proxy.actor, request, call, (again) =>
    isByFilter || isPartial
      ? writePartially(proxy, { ...again, filter: isByFilter ? again.filter : undefined }, ops, call)
      : writeRows(proxy, again, "upsert", call),
  );
  const data = { upsertCount: columnRows(keys), upsertIds: shownIds(keys, request) };
  return success(data, { cost: 0, sessionTs: String(ts) });
}

/** With an id of its own, so that it stays one request when it is made again for a newer schema. */
function repeatable<Request extends { requestId?: string | undefined }>(
  proxy: ProxyContext,
  request: Request,
): Request & { requestId: string } {
  return { ...request, requestId: requestIdOf(proxy, request.requestId) };
}

async function writePartially(
  proxy: ProxyContext,
  request: UpsertBody,
  ops: ReadonlyMap<string, FieldOp>,
  call: Call,
): Promise<Written> {
  const requestId = requestIdOf(proxy, request.requestId);
  const given = givenRows(request);
  // Rows stay in their partitions: all that there are by now are looked through.
  await proxy.actor.catalog.cache.sync(call.deadline);
  const collection = await resolveLoaded(proxy.actor, request, call);
  refuseStale(collection, request.schemaTimestamp);
  const rows = plainRows(collection.schema, given, timeZoneOf(proxy.actor.catalog, collection));
  const { filter, exprParams, partitionName, firstId } = request;
  const partial = { rows, ops, partitionName, requestId };
  const { keys, ts } =
    filter === undefined
      ? await upsertPartially(proxy, collection, { ...partial, firstId }, call)
      : await upsertByFilter(proxy, collection, { ...partial, filter, exprParams }, call);
  return { keys, ts };
}

interface Written {
  /** Of the rows, in their order. */
  keys: KeyColumn;
  ts: bigint;
}

async function writeRows(
  proxy: ProxyContext,
  request: InsertBody,
  operation: "insert" | "upsert",
  call: Call,
): Promise<Written> {
  const requestId = requestIdOf(proxy, request.requestId);
  const given = givenRows(request);
  const collection = await resolveToWrite(proxy.actor, request, call);
  refuseStale(collection, request.schemaTimestamp);
  const partitionId = partitionIdOf(collection, request.partitionName);
  const { write, keys, firstId } = isKeyless(collection, given)
    ? await writeWithNewKeys(proxy, collection, { given, operation, firstId: request.firstId }, call)
    : await writeWithOwnKeys(proxy, collection, given, operation);
  try {
    // A repetition with other generated keys is another request: its parts must not pass for those of the first.
    const id = firstId === undefined ? requestId : `${requestId}.${firstId}`;
    const ts = await sendWrite(proxy, collection, { ...write, requestId: id, partitionId }, call);
    return { keys, ts };
  } catch (error) {
    throw firstId === undefined ? error : withFirstId(error, firstId);
  }
}

/** Whether keys are to be made: with autoID, unless the collection allows rows to bring their own and they do. */
function isKeyless({ schema, properties }: CollectionDoc, given: GivenRows): boolean {
  if (!schema.autoId) return false;
  return properties.allow_insert_auto_id !== "true" || !bringsKeys(schema, given);
}

interface PreparedWrite {
  write: Pick<Write, "operation" | "batch" | "keys">;
  /** The keys of the rows, in their order, as the client is told. */
  keys: KeyColumn;
  /** Of generated keys. */
  firstId?: number;
}

async function writeWithOwnKeys(
  proxy: ProxyContext,
  collection: CollectionDoc,
  given: GivenRows,
  operation: "insert" | "upsert",
): Promise<PreparedWrite> {
  const { schema } = collection;
  const { catalog, clock } = proxy.actor;
  const batch = await toBatchInTurns(schema, given, { zone: timeZoneOf(catalog, collection), clock });
  const keys = batch.columns[primaryField(schema).fieldId] as KeyColumn;
  if (operation === "upsert") refuseRepeatedKeys(keys);
  return { write: { operation, batch }, keys };
}

/** With autoID an insert brings no keys; an upsert brings those of the rows that it replaces, and gets new ones. */
async function writeWithNewKeys(
  proxy: ProxyContext,
  collection: CollectionDoc,
  request: { given: GivenRows; operation: "insert" | "upsert"; firstId: number | undefined },
  call: Call,
): Promise<PreparedWrite> {
  const { given, operation } = request;
  const { schema } = collection;
  let oldKeys: KeyColumn | undefined;
  if (operation === "insert") refuseKeys(schema, given);
  else {
    oldKeys = primaryKeysOf(schema, given);
    refuseRepeatedKeys(oldKeys);
  }
  const firstId = request.firstId ?? (await proxy.autoIds.take(given.count, call));
  const keys = keysFrom(firstId, given.count, primaryField(schema));
  const { catalog, clock } = proxy.actor;
  const batch = await toBatchInTurns(schema, given, { keys, zone: timeZoneOf(catalog, collection), clock });
  return { write: oldKeys === undefined ? { operation, batch } : { operation, batch, keys: oldKeys }, keys, firstId };
}

/** The client's, or a new one. @throws VdbError invalid_parameter */
export function requestIdOf(proxy: ProxyContext, given: string | undefined): string {
  if (given === undefined || given === "") return proxy.actor.random.ulid();
  if (given.length > REQUEST_ID_CHARS_MAX) {
    throw new VdbError(
      "invalid_parameter",
      `requestId has ${given.length} characters, at most ${REQUEST_ID_CHARS_MAX} are allowed`,
    );
  }
  if (PART_ENDING.test(given)) {
    throw new VdbError(
      "invalid_parameter",
      `requestId ${JSON.stringify(given)} ends in a dot and letters or digits: parts of a request are told apart by that`,
    );
  }
  return given;
}

function shownIds(keys: KeyColumn, { acceptTypeAllowInt64, resultFormat }: InsertBody): KeyColumn | PrimaryKey[] {
  if (resultFormat === "columns") return keys;
  const ids = new Array<PrimaryKey>(columnRows(keys));
  for (let row = 0; row < ids.length; row++) ids[row] = shownKey(keys, row, acceptTypeAllowInt64 === false);
  return ids;
}
