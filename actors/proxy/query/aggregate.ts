/**
 * Queries that aggregate: `outputFields` with count, sum, avg, min, max and count(distinct) of fields, with or without
 * `groupByFields`. One row a group, ordered by the groups' values unless the request says otherwise.
 */
import type { Call } from "../../../runtime/bus/bus.ts";
import type { Clock } from "../../../runtime/clock.ts";
import { VdbError } from "../../../runtime/errors.ts";
import type { CollectionDoc } from "../../../runtime/protocol/catalog.ts";
import { shortestFloat32 } from "../../../runtime/protocol/public-codec.ts";
import type { Aggregation, Groups, RowValue, ValueRef } from "../../../runtime/protocol/values.ts";
import type { CollectionSchema, FieldSchema, FieldType } from "../../../runtime/schema.ts";
import { GroupTable, mergeGroups } from "../../../runtime/search/aggregate.ts";
import { firstRows } from "../../../runtime/search/order-rows.ts";
import { compareValues } from "../../../runtime/search/row-values.ts";
import { formatTimestamptz } from "../../../runtime/timestamptz.ts";
import type { ProxyContext } from "../context.ts";
import { scalarOf } from "../field-path.ts";
import type { RowShape } from "../output-fields.ts";
import { WINDOW_MAX } from "../page.ts";
import { computedColumn, type ReplyRows } from "../reply-columns.ts";
import type { OrderByName } from "./order-by.ts";
import { queryShards, type ShardQuery } from "./query-shards.ts";

type Function = Aggregation["functions"][number];

/** A column of the answer: a group's value, or what a function made of its rows. */
interface OutputColumn {
  name: string;
  field: FieldSchema | undefined;
  from: { group: number } | { count: number } | { value: number } | { average: number } | { distinct: true };
}

export interface AggregationPlan {
  /** Of the shards: where distinct values are counted, these make groups of their own there. */
  aggregation: Aggregation;
  /** How many of groupBy are the request's. */
  groupFields: number;
  columns: OutputColumn[];
}

const CALL = /^(count|sum|avg|min|max)\(\s*(distinct\s+)?(.+?)\s*\)$/i;

const GROUPED_TYPES: readonly string[] = ["Bool", "Int8", "Int16", "Int32", "Int64", "VarChar", "Timestamptz", "JSON"];
const NUMERIC_TYPES: readonly string[] = ["Int8", "Int16", "Int32", "Int64", "Float", "Double", "JSON"];

export function isAggregate(name: string): boolean {
  return CALL.test(name);
}

/** @throws VdbError invalid_parameter, field_not_found */
export function aggregationPlan(
  schema: CollectionSchema,
  {
    groupByFields = [],
    outputFields = [],
  }: { groupByFields?: string[] | undefined; outputFields?: string[] | undefined },
): AggregationPlan {
  const groups = groupByFields.map((name) => ({ name, ...groupField(schema, name) }));
  const functions: Function[] = [];
  const columns: OutputColumn[] = groups.map(({ name, field }, group) => ({ name, field, from: { group } }));
  let distinct: ValueRef | undefined;
  for (const name of outputFields) {
    const [, op, isDistinct, argument] = CALL.exec(name) ?? [];
    if (op === undefined) {
      if (groupByFields.includes(name)) continue;
      throw invalid(`output field ${name} is neither an aggregation nor one of groupByFields`);
    }
    if (isDistinct !== undefined) {
      if (op.toLowerCase() !== "count") throw invalid(`${name}: distinct is for count`);
      if (distinct !== undefined) throw invalid("count(distinct ...) can be asked for once a query");
      distinct = groupField(schema, argument!).ref;
      columns.push({ name, field: undefined, from: { distinct: true } });
      continue;
    }
    columns.push(functionColumn(schema, name, { op: op.toLowerCase(), argument: argument! }, functions));
  }
  const groupBy = groups.map(({ ref }) => ref);
  return {
    aggregation: { groupBy: distinct === undefined ? groupBy : [...groupBy, distinct], functions },
    groupFields: groupBy.length,
    columns,
  };
}

function functionColumn(
  schema: CollectionSchema,
  name: string,
  { op, argument }: { op: string; argument: string },
  functions: Function[],
): OutputColumn {
  if (argument === "*") {
    if (op !== "count") throw invalid(`${name}: only count takes *`);
    return { name, field: undefined, from: { count: functions.push({ op: "count" }) - 1 } };
  }
  const { ref, field } = scalarOf(schema, argument, "aggregate");
  if ((op === "sum" || op === "avg") && !NUMERIC_TYPES.includes(field.type)) {
    throw invalid(`${name}: field ${argument} of type ${field.type} is not numeric`);
  }
  if (op === "count") return { name, field: undefined, from: { count: functions.push({ op, of: ref }) - 1 } };
  if (op === "avg") return { name, field: undefined, from: { average: functions.push({ op: "sum", of: ref }) - 1 } };
  // The sum of floats is a double.
  const shownAs = op === "sum" && field.type === "Float" ? undefined : field;
  return { name, field: shownAs, from: { value: functions.push({ op: op as "sum" | "min" | "max", of: ref }) - 1 } };
}

function groupField(schema: CollectionSchema, name: string): { ref: ValueRef; field: FieldSchema } {
  const found = scalarOf(schema, name, "group rows");
  if (GROUPED_TYPES.includes(found.field.type)) return found;
  throw invalid(`field ${name} cannot be used to group rows: it is of type ${found.field.type}`);
}

/** One row a group. @throws VdbError parameter_too_large, and what the shards say */
export async function aggregateRows(
  proxy: ProxyContext,
  collection: CollectionDoc,
  request: {
    target: Pick<ShardQuery, "freshness" | "partitionIds" | "filter" | "readTs">;
    plan: AggregationPlan;
    orderBy: readonly OrderByName[];
    /** No limit: all groups, which is an error where they are more than a reply has. */
    page: { limit: number | null; offset: number };
    shape: RowShape;
  },
  call: Call,
): Promise<ReplyRows> {
  const { target, plan, orderBy, page, shape } = request;
  const order = groupOrder(plan, orderBy);
  const query = { ...target, fieldIds: [], limit: null, countOnly: false, aggregation: plan.aggregation };
  const { groups } = await queryShards(proxy.actor, collection, query, call);
  const { clock } = proxy.actor;
  const values = await columnValues(plan, await mergeGroups(plan.aggregation, groups, clock), clock);
  const numbers = Uint32Array.from({ length: values.groupCount }, (_, group) => group);
  const compare = (a: number, b: number) => compareGroups(values.columns, order, a, b);
  const limit = page.limit ?? values.groupCount;
  if (limit > WINDOW_MAX) {
    throw new VdbError(
      "parameter_too_large",
      `${limit} groups are more than a reply has (${WINDOW_MAX}): give a limit, or filter the rows`,
    );
  }
  const first = await firstRows([numbers], compare, page.offset + limit, clock);
  const picked = first.subarray(page.offset);
  if (shape.isColumns === true) {
    const columns = plan.columns.map((column, c) => {
      const shown = Array.from(picked, (group) => shownValue(values.columns[c]![group]!, column.field, shape));
      return computedColumn(column.name, typeOf(column, plan.aggregation), shown);
    });
    return { rowCount: picked.length, columns };
  }
  return Array.from(picked, (group) =>
    Object.fromEntries(
      plan.columns.map(({ name, field }, c) => [name, shownValue(values.columns[c]![group]!, field, shape)]),
    ),
  );
}

/** Of a column's values, as they are shown: a time is text. */
function typeOf({ field, from }: OutputColumn, { functions }: Aggregation): FieldType {
  if ("count" in from || "distinct" in from) return "Int64";
  if ("average" in from || field === undefined) return "Double";
  if (field.type === "Timestamptz") return "VarChar";
  const isSum = "value" in from && functions[from.value]!.op === "sum";
  return isSum && field.type.startsWith("Int") ? "Int64" : field.type;
}

/** What each column of the answer has for each group. */
async function columnValues(
  { aggregation, groupFields, columns }: AggregationPlan,
  found: Groups,
  clock: Clock,
): Promise<{ groupCount: number; columns: RowValue[][] }> {
  const { groups, distinct } = await foldDistinct(aggregation, groupFields, found, clock);
  const { keys, counts, values, groupCount } = groups;
  return {
    groupCount,
    columns: columns.map(({ from }): RowValue[] => {
      if ("group" in from) return keys[from.group]!;
      if ("distinct" in from) return Array.from(distinct);
      if ("count" in from) return Array.from(counts[from.count]!);
      if ("value" in from) return values[from.value]!;
      const sums = values[from.average]!;
      return sums.map((sum, group) => (sum === null ? null : Number(sum) / counts[from.average]![group]!));
    }),
  };
}

/** The groups of the request, out of those that distinct values make of them. */
async function foldDistinct(
  { groupBy, functions }: Aggregation,
  groupFields: number,
  found: Groups,
  clock: Clock,
): Promise<{ groups: Groups; distinct: Float64Array }> {
  if (groupBy.length === groupFields) return { groups: found, distinct: new Float64Array(0) };
  const isValue = Float64Array.from(found.keys[groupFields]!, (value) => (value === null ? 0 : 1));
  const folded = new GroupTable({ groupBy: groupBy.slice(0, groupFields), functions: [...functions, { op: "count" }] });
  const keys = found.keys.slice(0, groupFields);
  const counts = [...found.counts, isValue];
  const values = [...found.values, new Array<RowValue>(found.groupCount).fill(null)];
  await folded.addGroups({ keys, counts, values, groupCount: found.groupCount }, clock);
  const groups = folded.groups();
  return { groups, distinct: groups.counts.at(-1)! };
}

interface ColumnOrder {
  column: number;
  isDescending: boolean;
}

function groupOrder({ columns, groupFields }: AggregationPlan, orderBy: readonly OrderByName[]): ColumnOrder[] {
  const asked = orderBy.map(({ name, isDescending }) => {
    const column = columns.findIndex((one) => one.name.toLowerCase() === name.toLowerCase());
    if (column >= 0) return { column, isDescending };
    throw invalid(`orderByFields: ${name} is not part of the answer: ${columns.map((one) => one.name).join(", ")}`);
  });
  // Groups that are equal in what was asked for have an order too, so that pages do not overlap.
  return [...asked, ...Array.from({ length: groupFields }, (_, column) => ({ column, isDescending: false }))];
}

function compareGroups(columns: readonly RowValue[][], order: readonly ColumnOrder[], a: number, b: number): number {
  for (const { column, isDescending } of order) {
    const compared = compareValues(columns[column]![a]!, columns[column]![b]!, isDescending);
    if (compared !== 0) return compared;
  }
  return 0;
}

function shownValue(value: RowValue, field: FieldSchema | undefined, { int64AsText, zone }: RowShape): unknown {
  if (value === null || field === undefined) return value;
  if (field.type === "Timestamptz") return formatTimestamptz(BigInt(value), zone);
  if (field.type === "Float") return shortestFloat32(value as number);
  return field.type === "Int64" && int64AsText ? String(value) : value;
}

function invalid(message: string): VdbError {
  return new VdbError("invalid_parameter", message);
}
