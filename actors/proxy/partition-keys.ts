/**
 * Partition keys: which partition each row goes to, which ones a filter leaves to be read, and what a search must say
 * where the values of the key are isolated from each other.
 */
import { VdbError } from "../../runtime/errors.ts";
import type { FilterPlan } from "../../runtime/expr/plan.ts";
import type { PlanNode } from "../../runtime/expr/plan-node.ts";
import { partitionKeyField, partitionOfKey } from "../../runtime/partitions.ts";
import type { CollectionDoc } from "../../runtime/protocol/catalog.ts";
import type { FieldSchema } from "../../runtime/schema.ts";
import type { ColumnBatch, PrimaryKey } from "../../runtime/segment/column.ts";
import { type KeyColumn, keyKindOf, keysOf } from "../../runtime/segment/keys.ts";
import { ISOLATION_PROPERTY } from "./catalog/collection-properties.ts";

/** Rows of one partition, by place in the collection's list. */
export interface PartitionRows {
  place: number;
  rows: Uint32Array;
}

/** The rows of a batch by partition, or null where the collection has no partition key. */
export function rowsByPartition(collection: CollectionDoc, batch: ColumnBatch): PartitionRows[] | null {
  const field = partitionKeyField(collection.schema);
  if (field === undefined) return null;
  const column = batch.columns[field.fieldId] as KeyColumn;
  const rows = new Map<number, number[]>();
  for (let row = 0; row < batch.rowCount; row++) {
    const place = partitionOfKey(column, row, collection.partitions.length);
    const there = rows.get(place);
    if (there === undefined) rows.set(place, [row]);
    else there.push(row);
  }
  return [...rows].map(([place, list]) => ({ place, rows: Uint32Array.from(list) }));
}

/** Ids of the partitions that can have rows which the filter matches; null: all. For collections with a partition key. */
export function partitionsOfFilter(collection: CollectionDoc, filter: FilterPlan | null): number[] | null {
  const field = partitionKeyField(collection.schema);
  const values = field === undefined || filter === null ? null : keyValues(filter.root, field);
  if (values === null) return null;
  const { partitions } = collection;
  const column = keysOf(keyKindOf(field!), values);
  const places = new Set(values.map((_, row) => partitionOfKey(column, row, partitions.length)));
  return partitions.filter((_, place) => places.has(place)).map(({ partitionId }) => partitionId);
}

/**
 * Where values are isolated, a search is about exactly one: `key == value`, alone or among what is AND-ed.
 * @throws VdbError unexpected, in Milvus's words
 */
export function requireIsolated(collection: CollectionDoc, filter: FilterPlan | null): void {
  const field = partitionKeyField(collection.schema);
  if (field === undefined || collection.properties[ISOLATION_PROPERTY] !== "true") return;
  if (filter !== null && isIsolated(filter.root, field)) return;
  throw new VdbError(
    "unexpected",
    "partition key not found in expr or the expr is invalid when validating partition key isolation",
  );
}

/** Whether the node pins the key to one value. @throws VdbError unexpected for every other use of the key */
function isIsolated(node: PlanNode, field: FieldSchema): boolean {
  const refuse = (what: string) => new VdbError("unexpected", `partition key isolation does not support ${what}`);
  switch (node.op) {
    case "and":
      // All of them are looked at: one that uses the key in another way is refused, whatever the others say.
      return node.items.filter((item) => isIsolated(item, field)).length > 0;
    case "or":
      if (node.items.filter((item) => isIsolated(item, field)).length > 0) throw refuse("OR");
      return false;
    case "not":
      if (isIsolated(node.item, field)) throw refuse("NOT");
      return false;
    case "in":
      if (isOf(node, field)) throw refuse("IN");
      return false;
    case "compare":
      if (!isOf(node, field)) return false;
      if (node.comparison === "==" && node.arithmetic === undefined) return true;
      throw refuse(node.comparison === "==" ? "arithmetic" : (COMPARISONS[node.comparison] ?? node.comparison));
    case "compareColumns":
      if (node.left.fieldId === field.fieldId || node.right.fieldId === field.fieldId)
        throw refuse("comparing two fields");
      return false;
    default:
      return false;
  }
}

const COMPARISONS: Record<string, string> = {
  "!=": "NotEqual",
  "<": "LessThan",
  "<=": "LessEqual",
  ">": "GreaterThan",
  ">=": "GreaterEqual",
};

/** The values that the key has in every row that matches; null when it may be any. */
function keyValues(node: PlanNode, field: FieldSchema): PrimaryKey[] | null {
  switch (node.op) {
    case "and": {
      const lists = node.items.flatMap((item) => {
        const values = keyValues(item, field);
        return values === null ? [] : [values];
      });
      return lists.reduce<PrimaryKey[] | null>(
        (both, list) => (both === null ? list : both.filter((value) => list.includes(value))),
        null,
      );
    }
    case "or": {
      const lists = node.items.map((item) => keyValues(item, field));
      return lists.every((list) => list !== null) ? lists.flat() : null;
    }
    case "in":
      return isOf(node, field) ? (node.values as PrimaryKey[]) : null;
    case "compare": {
      const isEqual = isOf(node, field) && node.comparison === "==" && node.arithmetic === undefined;
      return isEqual ? [node.value as PrimaryKey] : null;
    }
    default:
      return null;
  }
}

function isOf({ operand }: Extract<PlanNode, { op: "in" | "compare" }>, { fieldId }: FieldSchema): boolean {
  return operand.from === "column" && operand.fieldId === fieldId;
}
