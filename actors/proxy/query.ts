/** entities/query and entities/get: rows by a filter or by their keys, ascending by primary key. */
import { z } from "zod";
import type { Call } from "../../runtime/bus/bus.ts";
import { VdbError } from "../../runtime/errors.ts";
import { planFilter } from "../../runtime/expr/plan.ts";
import type { CollectionDoc } from "../../runtime/protocol/catalog.ts";
import type { PublicReply } from "../../runtime/protocol/public.ts";
import { type FieldSchema, primaryField } from "../../runtime/schema.ts";
import { gatherFound, pickNewest } from "../../runtime/search/merge-rows.ts";
import { withoutRow, wrongType } from "./bad-cell.ts";
import { columnsToRows, type ResultRow } from "./columns-to-rows.ts";
import { freshnessOf } from "./consistency.ts";
import { type ProxyContext, success } from "./context.ts";
import { fillColumn } from "./fill-column.ts";
import { columnsToFetch, type OutputFields, outputFieldsOf } from "./output-fields.ts";
import { checkWindow } from "./page.ts";
import { CollectionBody, optional, parseBody } from "./parse-body.ts";
import { queryShards, type ShardQuery } from "./query-shards.ts";
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
};

const QueryBody = CollectionBody.extend({
  ...ReadFields,
  filter: optional(z.string()),
  exprParams: optional(z.record(z.string(), z.unknown())),
  limit: optional(z.int()),
  offset: optional(z.int()),
});

const GetBody = CollectionBody.extend({ ...ReadFields, id: z.unknown() });

/** @throws VdbError invalid_parameter, collection_not_loaded, … */
export async function queryEntities(proxy: ProxyContext, body: unknown, call: Call): Promise<PublicReply> {
  const request = parseBody(QueryBody, body);
  const collection = await resolveLoaded(proxy.actor, request, call);
  const isCount = (request.outputFields ?? []).some((name) => name.toLowerCase() === COUNT);
  const page = isCount ? countPage(request) : checkWindow(request.limit ?? LIMIT_DEFAULT, request.offset ?? 0);
  const filter = proxy.filterPlans.plan(collection, {
    text: request.filter ?? "",
    templateValues: request.exprParams,
    purpose: "query",
  });
  const target = {
    freshness: freshnessOf(collection, proxy.sessions, request),
    partitionIds: partitionIdsOf(collection, request.partitionNames),
    filter,
  };
  if (page === null) {
    const { count } = await queryShards(
      proxy.actor,
      collection,
      { ...target, fieldIds: [], limit: null, countOnly: true },
      call,
    );
    return success([{ [COUNT]: count }], { cost: 0 });
  }
  const output = outputFieldsOf(collection.schema, outputNames(request.outputFields));
  return success(await readRows(proxy, collection, { ...target, output, page }, call), { cost: 0 });
}

/** Rows by their keys, in the order of the keys; missing ones are silently absent. The body's key is `id` whatever the field is called. */
export async function getEntities(proxy: ProxyContext, body: unknown, call: Call): Promise<PublicReply> {
  const request = parseBody(GetBody, body);
  const collection = await resolveLoaded(proxy.actor, request, call);
  const { schema } = collection;
  const key = primaryField(schema);
  const ids = idsOf(request.id, key);
  const output = outputFieldsOf(schema, outputNames(request.outputFields));
  if (ids.length === 0) return success([], { cost: 0 });
  const target = {
    freshness: freshnessOf(collection, proxy.sessions, request),
    partitionIds: partitionIdsOf(collection, request.partitionNames),
    filter: planFilter(`${key.name} in {ids}`, schema, { templateValues: { ids }, purpose: "query" }),
    output,
    page: { limit: null, offset: 0 },
  };
  return success(await readRows(proxy, collection, target, call), { cost: 0 });
}

/** Nothing asked for means everything; a query differs from a search in that. */
function outputNames(given: readonly string[] | undefined): readonly string[] {
  return given === undefined || given.length === 0 ? ["*"] : given;
}

/** @throws VdbError invalid_parameter, in Milvus's words */
function countPage(request: {
  outputFields?: string[] | undefined;
  limit?: number | undefined;
  offset?: number | undefined;
}): null {
  if (request.outputFields!.length > 1) {
    throw new VdbError(
      "invalid_parameter",
      `${COUNT} must be the only output field, got ${request.outputFields!.join(", ")}`,
    );
  }
  // The REST default of limit does not count as one.
  if (request.limit !== undefined || (request.offset ?? 0) !== 0) {
    throw new VdbError("invalid_parameter", "count entities with pagination is not allowed");
  }
  return null;
}

interface RowRead extends Pick<ShardQuery, "freshness" | "partitionIds" | "filter"> {
  output: OutputFields;
  page: { limit: number | null; offset: number };
}

async function readRows(
  proxy: ProxyContext,
  collection: CollectionDoc,
  read: RowRead,
  call: Call,
): Promise<ResultRow[]> {
  const { output, page, ...target } = read;
  const fieldIds = columnsToFetch(output);
  const window = page.limit === null ? null : page.offset + page.limit;
  const { found } = await queryShards(
    proxy.actor,
    collection,
    { ...target, fieldIds, limit: window, countOnly: false },
    call,
  );
  if (found.length === 0) return [];
  const pick = pickNewest(found, window);
  const shown = { sources: pick.sources.subarray(page.offset), rows: pick.rows.subarray(page.offset) };
  const { keys, batch } = gatherFound(found, shown, fieldIds);
  return columnsToRows(keys, batch, output);
}

/** One key or a list of them, of the primary field's type. @throws VdbError missing_field, invalid_primary_key */
function idsOf(given: unknown, field: FieldSchema): unknown[] {
  if (given === undefined || given === null) {
    throw new VdbError("missing_field", "missing required parameters, error: id is required");
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
    throw new VdbError("invalid_primary_key", `id${position}: ${withoutRow(error.message)}`, {
      details: { field: field.name },
      cause: error,
    });
  }
}
