/** entities/query and entities/get: rows by a filter or by their keys, ascending by primary key or as asked; or what they make together. */
import { z } from "zod";
import type { Call } from "../../runtime/bus/bus.ts";
import { VdbError } from "../../runtime/errors.ts";
import { planFilter } from "../../runtime/expr/plan.ts";
import type { CollectionDoc } from "../../runtime/protocol/catalog.ts";
import type { PublicReply } from "../../runtime/protocol/public.ts";
import type { RowOrder } from "../../runtime/protocol/values.ts";
import { withoutRow, wrongType } from "../../runtime/rows/bad-cell.ts";
import { fillColumn } from "../../runtime/rows/fill-column.ts";
import { type FieldSchema, primaryField } from "../../runtime/schema.ts";
import { gatherFound, pickNewest } from "../../runtime/search/merge-rows.ts";
import { keyKindOf, keysOf } from "../../runtime/segment/keys.ts";
import { columnsToRowsInTurns } from "./columns-to-rows.ts";
import { freshnessOf, timestampOf } from "./consistency.ts";
import { type ProxyContext, success } from "./context.ts";
import { newTimestamp } from "./new-timestamp.ts";
import { columnsToFetch, type OutputFields, outputFieldsOf, rowShapeOf } from "./output-fields.ts";
import { checkWindow } from "./page.ts";
import { CollectionBody, optional } from "./parse-body.ts";
import { aggregateRows, aggregationPlan, isAggregate } from "./query/aggregate.ts";
import { OrderByFields, orderByNames, rowOrderOf } from "./query/order-by.ts";
import { queryShards, type ShardQuery } from "./query/query-shards.ts";
import { columnsToReply, computedColumn, type ReplyRows } from "./reply-columns.ts";
import { partitionIdsOf, resolveLoaded } from "./resolve.ts";

const LIMIT_DEFAULT = 100;
const COUNT = "count(*)";

/** What every read has. */
export const ReadFields = {
  outputFields: optional(z.array(z.string())),
  partitionNames: optional(z.array(z.string())),
  consistencyLevel: optional(z.string()),
  /** The session's last write, as our client sends it: an integer or its text. */
  guaranteeTimestamp: optional(z.unknown()),
  /** The time zone of Timestamptz values in the reply. */
  timezone: optional(z.string()),
  /** False: int64 in the reply is text. */
  acceptTypeAllowInt64: optional(z.boolean()),
  /** How the reply has its rows: an object each, or a typed column for each field. */
  resultFormat: optional(z.enum(["rows", "columns"])),
};

export const QueryBody = CollectionBody.extend({
  ...ReadFields,
  filter: optional(z.string()),
  exprParams: optional(z.record(z.string(), z.unknown())),
  limit: optional(z.int()),
  /** Where limit says nothing, all rows that match are meant, instead of the first hundred; there must be a filter then. */
  isUnlimited: optional(z.boolean()),
  offset: optional(z.int()),
  orderByFields: OrderByFields,
  groupByFields: optional(z.array(z.string().min(1))),
  /** Reads at one timestamp, `sessionTs` of the first reply, which the next requests bring as guaranteeTimestamp. */
  iterator: optional(z.boolean()),
});
export type QueryBody = z.infer<typeof QueryBody>;

export const GetBody = CollectionBody.extend({ ...ReadFields, id: z.unknown() });
type GetBody = z.infer<typeof GetBody>;

/** @throws VdbError invalid_parameter, collection_not_loaded, … */
export async function queryEntities(proxy: ProxyContext, request: QueryBody, call: Call): Promise<PublicReply> {
  const collection = await resolveLoaded(proxy.actor, request, call);
  const filter = proxy.filterPlans.plan(collection, {
    text: request.filter ?? "",
    templateValues: request.exprParams,
    purpose: "query",
  });
  const partitionIds = partitionIdsOf(collection, request.partitionNames);
  if (filter === null && isUnlimited(request) && !isAggregation(request)) {
    throw new VdbError("unexpected", "empty expression should be used with limit");
  }
  if (request.iterator === true) return iterateRows(proxy, collection, { filter, partitionIds }, request, call);
  const target = { freshness: freshnessOf(collection, proxy.sessions, request), partitionIds, filter };
  if (isAggregation(request)) return success(await aggregated(proxy, collection, target, request, call), { cost: 0 });
  return success(await readRows(proxy, collection, { ...target, ...rowsAsked(proxy, collection, request) }, call), {
    cost: 0,
  });
}

function isUnlimited({ isUnlimited = false, limit }: QueryBody): boolean {
  return isUnlimited && limit === undefined;
}

function isAggregation({ outputFields = [], groupByFields = [] }: QueryBody): boolean {
  return groupByFields.length > 0 || outputFields.some(isAggregate);
}

async function aggregated(
  proxy: ProxyContext,
  collection: CollectionDoc,
  target: RowTarget,
  request: QueryBody,
  call: Call,
): Promise<ReplyRows> {
  const { outputFields = [], groupByFields = [], limit, offset } = request;
  const hasGroups = groupByFields.length > 0;
  // All rows together are one row: there are no pages of it. The REST default of limit does not count as one.
  if (!hasGroups && (limit !== undefined || (offset ?? 0) !== 0)) {
    throw new VdbError("invalid_parameter", "count entities with pagination is not allowed");
  }
  if (!hasGroups && outputFields.every((name) => name.toLowerCase() === COUNT)) {
    const query = { ...target, fieldIds: [], limit: null, countOnly: true };
    const { count } = await queryShards(proxy.actor, collection, query, call);
    return request.resultFormat === "columns"
      ? { rowCount: 1, columns: [computedColumn(COUNT, "Int64", [count])] }
      : [{ [COUNT]: count }];
  }
  const asked = {
    target,
    plan: aggregationPlan(collection.schema, { outputFields, groupByFields }),
    orderBy: orderByNames(request.orderByFields),
    page: { ...checkWindow(limit ?? 1, offset ?? 0), limit: limit ?? null },
    shape: rowShapeOf(proxy, collection, request),
  };
  return aggregateRows(proxy, collection, asked, call);
}

/** @throws VdbError invalid_parameter, field_not_found, unexpected */
function rowsAsked(proxy: ProxyContext, collection: CollectionDoc, request: QueryBody): Omit<RowRead, keyof RowTarget> {
  const { schema } = collection;
  return {
    output: {
      ...outputFieldsOf(schema, outputNames(request)),
      shape: rowShapeOf(proxy, collection, request),
    },
    page: isUnlimited(request)
      ? { limit: null, offset: 0 }
      : checkWindow(request.limit ?? LIMIT_DEFAULT, request.offset ?? 0),
    order: rowOrderOf(schema, request.orderByFields),
  };
}

/** Batches in the order of the keys: each asks for keys behind the last one's, all at one timestamp. @throws VdbError invalid_parameter */
async function iterateRows(
  proxy: ProxyContext,
  collection: CollectionDoc,
  where: Pick<RowTarget, "filter" | "partitionIds">,
  request: QueryBody,
  call: Call,
): Promise<PublicReply> {
  if (isAggregation(request) || (request.orderByFields ?? []).length > 0 || (request.offset ?? 0) > 0) {
    throw new VdbError(
      "invalid_parameter",
      "an iterator gives rows in the order of their keys: without aggregation, order and offset",
    );
  }
  const given = timestampOf(request.guaranteeTimestamp);
  // 0, 1 and 2 are levels in the words of old clients.
  const readTs = given === undefined || given <= 2n ? await newTimestamp(proxy, call) : given;
  const target = { ...where, freshness: { level: "session" as const, ts: readTs }, readTs };
  const rows = await readRows(proxy, collection, { ...target, ...rowsAsked(proxy, collection, request) }, call);
  return success(rows, { cost: 0, sessionTs: readTs });
}

/** Rows by their keys, in the order of the keys; missing ones are silently absent. The body's key is `id` whatever the field is called. */
export async function getEntities(proxy: ProxyContext, request: GetBody, call: Call): Promise<PublicReply> {
  const collection = await resolveLoaded(proxy.actor, request, call);
  const { schema } = collection;
  const key = primaryField(schema);
  const ids = idsOf(request.id, key);
  const shape = rowShapeOf(proxy, collection, request);
  const output = { ...outputFieldsOf(schema, outputNames(request)), shape };
  if (ids.length === 0) return success(noRows(output), { cost: 0 });
  const target = {
    freshness: freshnessOf(collection, proxy.sessions, request),
    partitionIds: partitionIdsOf(collection, request.partitionNames),
    filter: planFilter(`${key.name} in {ids}`, schema, { templateValues: { ids }, purpose: "query" }),
    output,
    page: { limit: null, offset: 0 },
    order: [],
  };
  return success(await readRows(proxy, collection, target, call), { cost: 0 });
}

/** Of rows, nothing asked for means everything; a query differs from a search in that. Of columns it means the keys. */
function outputNames({ outputFields = [], resultFormat }: Pick<QueryBody, "outputFields" | "resultFormat">) {
  return outputFields.length === 0 && resultFormat !== "columns" ? ["*"] : outputFields;
}

type RowTarget = Pick<ShardQuery, "freshness" | "partitionIds" | "filter" | "readTs">;

interface RowRead extends RowTarget {
  output: OutputFields;
  page: { limit: number | null; offset: number };
  order: RowOrder;
}

async function readRows(proxy: ProxyContext, collection: CollectionDoc, read: RowRead, call: Call): Promise<ReplyRows> {
  const { output, page, order, ...target } = read;
  const fieldIds = columnsToFetch(output);
  // Whoever merges compares what the rows are ordered by.
  const needed = [...new Set([...fieldIds, ...order.map(({ fieldId }) => fieldId)])];
  const window = page.limit === null ? null : page.offset + page.limit;
  const query = { ...target, fieldIds: needed, limit: window, countOnly: false };
  const { found } = await queryShards(proxy.actor, collection, order.length === 0 ? query : { ...query, order }, call);
  if (found.length === 0) return noRows(output);
  const pick = await pickNewest(found, { limit: window, order }, proxy.actor.clock);
  const shown = { sources: pick.sources.subarray(page.offset), rows: pick.rows.subarray(page.offset) };
  const { keys, batch } = gatherFound(found, shown, fieldIds);
  if (output.shape?.isColumns === true) return columnsToReply(keys, batch, output);
  return columnsToRowsInTurns(keys, batch, output, proxy.actor.clock);
}

function noRows(output: OutputFields): ReplyRows {
  if (output.shape?.isColumns !== true) return [];
  const key = output.fields.find(({ isPrimary }) => isPrimary)!;
  return columnsToReply(keysOf(keyKindOf(key), []), { rowCount: 0, columns: {} }, output);
}

/** One key or a list of them, of the primary field's type; `name` of the request's parameter. @throws VdbError missing_field, invalid_primary_key */
export function idsOf(given: unknown, field: FieldSchema, name = "id"): unknown[] {
  if (given === undefined || given === null) {
    throw new VdbError("missing_field", `missing required parameters, error: ${name} is required`);
  }
  const ids = Array.isArray(given) ? (given as unknown[]) : [given];
  const place = { field: field.name };
  try {
    for (let i = 0; i < ids.length; i++) if (ids[i] === null) throw wrongType(place, i, field.type, null);
    const column = fillColumn(field, ids);
    // Text of an integer stands for it; the plan takes it as a number.
    return column.kind === "int64" ? Array.from(column.values) : ids;
  } catch (error) {
    if (!(error instanceof VdbError)) throw error;
    const position = Array.isArray(given) ? `[${Number(error.details?.row)}]` : "";
    throw new VdbError("invalid_primary_key", `${name}${position}: ${withoutRow(error.message)}`, {
      details: { field: field.name },
      cause: error,
    });
  }
}
