/** Search by primary keys: reads the vectors of those rows, as fresh as the search itself is to be. */
import type { Call } from "../../../runtime/bus/bus.ts";
import { VdbError } from "../../../runtime/errors.ts";
import { planFilter } from "../../../runtime/expr/plan.ts";
import type { CollectionDoc } from "../../../runtime/protocol/catalog.ts";
import type { Freshness } from "../../../runtime/protocol/values.ts";
import { bytesOfVector, type FieldSchema, isPackedVectorType, primaryField } from "../../../runtime/schema.ts";
import { gatherFound, pickNewest } from "../../../runtime/search/merge-rows.ts";
import type { PrimaryKey } from "../../../runtime/segment/column.ts";
import { keyAt } from "../../../runtime/segment/keys.ts";
import { columnsToRows } from "../columns-to-rows.ts";
import type { ProxyContext } from "../context.ts";
import { queryShards } from "../query/query-shards.ts";
import { idsOf } from "../query.ts";

/** Ids named in a message. */
const SHOWN_MAX = 10;

export interface IdsRead {
  ids: unknown;
  field: FieldSchema;
  freshness: Freshness;
  partitionIds: number[] | null;
}

/**
 * One vector an id, in their order, in a form that `data` takes; null where the row has none.
 * @throws VdbError invalid_parameter, invalid_primary_key
 */
export async function vectorsOfIds(
  { actor }: ProxyContext,
  collection: CollectionDoc,
  { ids: given, field, freshness, partitionIds }: IdsRead,
  call: Call,
): Promise<unknown[]> {
  const { schema } = collection;
  const key = primaryField(schema);
  if (field.isFunctionOutput === true) {
    throw new VdbError(
      "invalid_parameter",
      `search by primary keys is not supported for function output field ${field.name}`,
    );
  }
  const ids = idsOf(given, key, "ids").map(normal);
  if (ids.length === 0) throw new VdbError("invalid_parameter", "ids must not be empty");
  const filter = planFilter(`${key.name} in {ids}`, schema, { templateValues: { ids }, purpose: "query" });
  const read = { freshness, partitionIds, filter, fieldIds: [field.fieldId], limit: null, countOnly: false };
  const { found } = await queryShards(actor, collection, read, call);
  const vectors = new Map<PrimaryKey, unknown>();
  if (found.length > 0) {
    const { keys, batch } = gatherFound(found, await pickNewest(found, { limit: null }, actor.clock), [field.fieldId]);
    const rows = columnsToRows(keys, batch, { fields: [field], dynamicField: undefined, dynamicKeys: null });
    rows.forEach((row, i) => {
      vectors.set(keyAt(keys, i), row[field.name]);
    });
  }
  const missing = ids.filter((id) => !vectors.has(id));
  if (missing.length > 0) {
    const more = missing.length > SHOWN_MAX ? ` and ${missing.length - SHOWN_MAX} more` : "";
    throw new VdbError(
      "invalid_parameter",
      `some of the provided primary key IDs do not exist: missing IDs = [${missing.slice(0, SHOWN_MAX).join(", ")}]${more}`,
    );
  }
  return ids.map((id) => vectors.get(id));
}

/** A placeholder query, for when none of the rows has a vector: the rest of the request is checked with it. */
export function anyVector({ type, dimension = 0 }: FieldSchema): unknown {
  if (type === "SparseFloatVector") return { 0: 1 };
  return isPackedVectorType(type) ? new Uint8Array(bytesOfVector(type, dimension)) : new Float32Array(dimension);
}

/** Hit counts of all ids, from the counts of those whose rows have a vector. */
export function countsOfIds(vectors: readonly unknown[], counts: Uint32Array): Uint32Array {
  let next = 0;
  return Uint32Array.from(vectors, (vector) => (vector === null ? 0 : counts[next++]!));
}

function normal(id: unknown): PrimaryKey {
  if (typeof id !== "bigint") return id as PrimaryKey;
  const number = Number(id);
  return Number.isSafeInteger(number) ? number : id;
}
