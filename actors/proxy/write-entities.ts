/** entities/insert and entities/upsert: rows checked, keys made, sent to the shards. */
import { z } from "zod";
import type { Call } from "../../runtime/bus/bus.ts";
import { VdbError } from "../../runtime/errors.ts";
import type { CollectionDoc } from "../../runtime/protocol/catalog.ts";
import type { PublicReply } from "../../runtime/protocol/public.ts";
import { primaryField } from "../../runtime/schema.ts";
import type { PrimaryKey } from "../../runtime/segment/column.ts";
import { columnRows } from "../../runtime/segment/gather.ts";
import { type KeyColumn, keyAt } from "../../runtime/segment/keys.ts";
import { keysFrom } from "./auto-ids.ts";
import { type ProxyContext, success } from "./context.ts";
import { CollectionBody, optional, parseBody } from "./parse-body.ts";
import { refuseRepeatedKeys } from "./repeated-keys.ts";
import { partitionIdOf, resolveCollection } from "./resolve.ts";
import { routeWrite, type Write } from "./route-writes.ts";
import { primaryKeyColumn, type Row, refusePrimaryKeys, rowsOf, rowsToColumns } from "./rows-to-columns.ts";

/** Room is left for what is appended to it: the log takes ids of 64 characters. */
const REQUEST_ID_CHARS_MAX = 40;

export const RequestIdField = optional(z.string());

const WriteBody = CollectionBody.extend({
  partitionName: optional(z.string()),
  data: z.unknown(),
  requestId: RequestIdField,
  /** Of ids that the client has reserved, or that a failure has named (`details.firstId`): the rows get these. */
  firstId: optional(z.int().min(1)),
  partialUpdate: optional(z.boolean()),
});

export async function insertEntities(proxy: ProxyContext, body: unknown, call: Call): Promise<PublicReply> {
  const { ids, ts } = await writeRows(proxy, body, "insert", call);
  return success({ insertCount: ids.length, insertIds: ids }, { cost: 0, sessionTs: String(ts) });
}

export async function upsertEntities(proxy: ProxyContext, body: unknown, call: Call): Promise<PublicReply> {
  const { ids, ts } = await writeRows(proxy, body, "upsert", call);
  return success({ upsertCount: ids.length, upsertIds: ids }, { cost: 0, sessionTs: String(ts) });
}

async function writeRows(
  proxy: ProxyContext,
  body: unknown,
  operation: "insert" | "upsert",
  call: Call,
): Promise<{ ids: PrimaryKey[]; ts: bigint }> {
  const request = parseBody(WriteBody, body);
  if (request.partialUpdate === true) throw new VdbError("invalid_parameter", "partialUpdate is not supported yet");
  const requestId = requestIdOf(proxy, request.requestId);
  const rows = rowsOf(request.data);
  const collection = await resolveCollection(proxy.actor, request, call);
  const partitionId = partitionIdOf(collection, request.partitionName);
  const { write, keys, firstId } = collection.schema.autoId
    ? await writeWithNewKeys(proxy, collection, { rows, operation, firstId: request.firstId }, call)
    : writeWithOwnKeys(collection, rows, operation);
  try {
    // Rows with other ids are another request: its parts must not be taken for those of the first.
    const id = firstId === undefined ? requestId : `${requestId}.${firstId}`;
    const ts = await routeWrite(proxy.actor, collection, { ...write, requestId: id, partitionId }, call);
    proxy.sessions.note(collection.collectionId, ts);
    return { ids: idsOf(keys), ts };
  } catch (error) {
    throw firstId === undefined ? error : withFirstId(error, firstId);
  }
}

interface PreparedWrite {
  write: Pick<Write, "operation" | "batch" | "keys">;
  /** Of the rows, in their order: what the client is told. */
  keys: KeyColumn;
  /** Of generated keys. */
  firstId?: number;
}

function writeWithOwnKeys(
  collection: CollectionDoc,
  rows: readonly Row[],
  operation: "insert" | "upsert",
): PreparedWrite {
  const { schema } = collection;
  const batch = rowsToColumns(schema, rows);
  const keys = batch.columns[primaryField(schema).fieldId] as KeyColumn;
  if (operation === "upsert") refuseRepeatedKeys(keys);
  return { write: { operation, batch }, keys };
}

/** With autoID an insert brings no keys; an upsert brings those of the rows that it replaces, and gets new ones. */
async function writeWithNewKeys(
  proxy: ProxyContext,
  collection: CollectionDoc,
  request: { rows: readonly Row[]; operation: "insert" | "upsert"; firstId: number | undefined },
  call: Call,
): Promise<PreparedWrite> {
  const { rows, operation } = request;
  const { schema } = collection;
  let oldKeys: KeyColumn | undefined;
  if (operation === "insert") refusePrimaryKeys(schema, rows);
  else {
    oldKeys = primaryKeyColumn(schema, rows);
    refuseRepeatedKeys(oldKeys);
  }
  const firstId = request.firstId ?? (await proxy.autoIds.take(rows.length, call));
  const keys = keysFrom(firstId, rows.length, primaryField(schema));
  const batch = rowsToColumns(schema, rows, keys);
  return { write: oldKeys === undefined ? { operation, batch } : { operation, batch, keys: oldKeys }, keys, firstId };
}

function withFirstId(error: unknown, firstId: number): unknown {
  if (!(error instanceof VdbError)) return error;
  return new VdbError(error.kind, error.message, { details: { ...error.details, firstId }, cause: error });
}

/** The client's, or a new one. @throws VdbError invalid_parameter */
export function requestIdOf(proxy: ProxyContext, given: string | undefined): string {
  if (given === undefined || given === "") return proxy.actor.random.ulid();
  if (given.length <= REQUEST_ID_CHARS_MAX) return given;
  throw new VdbError(
    "invalid_parameter",
    `requestId has ${given.length} characters, at most ${REQUEST_ID_CHARS_MAX} are allowed`,
  );
}

function idsOf(keys: KeyColumn): PrimaryKey[] {
  const ids = new Array<PrimaryKey>(columnRows(keys));
  for (let row = 0; row < ids.length; row++) ids[row] = keyAt(keys, row);
  return ids;
}
