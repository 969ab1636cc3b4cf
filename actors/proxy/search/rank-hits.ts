/** Hits of one or several searches put in the order that a reranker gives them. */
import type { Call } from "../../../runtime/bus/bus.ts";
import type { CollectionDoc } from "../../../runtime/protocol/catalog.ts";
import type { SearchHits } from "../../../runtime/protocol/values.ts";
import { inOrderOf } from "../../../runtime/search/boost-hits.ts";
import type { Column } from "../../../runtime/segment/column.ts";
import type { ProxyContext } from "../context.ts";
import { fetchFields } from "../fetch-fields.ts";
import type { Decay } from "../rerank/decay.ts";
import { fuse, type Route } from "../rerank/fuse.ts";
import type { Ranker } from "../rerank/ranker.ts";
import type { Found } from "./find-hits.ts";

/** Distances become scores, the greater the better. @throws VdbError segment_not_loaded when rows are no longer where the search found them */
export async function rankHits(
  proxy: ProxyContext,
  collection: CollectionDoc,
  routes: readonly (Route & Found)[],
  ranker: Ranker,
  call: Call,
): Promise<Found> {
  const scoreOf = ranker.scoreOf(routes.map(({ metric }) => metric));
  const hits = fuse(routes, scoreOf, ranker.mode);
  const found = { hits, shardOf: new Map(routes.flatMap(({ shardOf }) => [...shardOf])) };
  if (ranker.decay === undefined || hits.distances.length === 0) return found;
  const { field } = ranker.decay;
  const batch = await fetchFields(proxy.actor, collection, { ...found, fieldIds: [field.fieldId] }, call);
  return { ...found, hits: decayed(hits, batch.columns[field.fieldId], ranker.decay) };
}

function decayed(hits: SearchHits, column: Column | undefined, { field, factor }: Decay): SearchHits {
  const numberAt = readerOf(column, Number(field.defaultValue ?? 0));
  return inOrderOf(
    hits,
    hits.distances.map((score, i) => score * factor(numberAt(i))),
    true,
  );
}

/** @param fallback of rows that are older than the field */
function readerOf(column: Column | undefined, fallback: number): (row: number) => number {
  if (column === undefined || !("values" in column)) return () => fallback;
  const { values } = column;
  return (row) => Number(values[row]);
}
