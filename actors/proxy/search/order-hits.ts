/** The nearest rows in another order: sorted by fields, after they were found and before a page of them is cut. */
import type { Call } from "../../../runtime/bus/bus.ts";
import type { CollectionDoc } from "../../../runtime/protocol/catalog.ts";
import type { RowOrder } from "../../../runtime/protocol/values.ts";
import { firstRows } from "../../../runtime/search/order-rows.ts";
import { pickHits } from "../../../runtime/search/reduce.ts";
import { compareValues, remember, valueReader } from "../../../runtime/search/row-values.ts";
import type { ProxyContext } from "../context.ts";
import { fetchFields } from "../fetch-fields.ts";
import type { Found } from "./find-hits.ts";

/** Among equal ones, nearer rows stay first. @throws VdbError segment_not_loaded when rows are no longer where the search found them */
export async function orderHits(
  proxy: ProxyContext,
  collection: CollectionDoc,
  found: Found,
  order: RowOrder,
  call: Call,
): Promise<Found> {
  const { hits } = found;
  if (order.length === 0 || hits.distances.length === 0) return found;
  const fieldIds = [...new Set(order.map(({ fieldId }) => fieldId))];
  const batch = await fetchFields(proxy.actor, collection, { ...found, fieldIds }, call);
  const values = order.map((ref) => remember(valueReader(batch, ref)));
  const compare = (a: number, b: number) => {
    for (let k = 0; k < order.length; k++) {
      const compared = compareValues(values[k]!(a), values[k]!(b), order[k]!.isDescending);
      if (compared !== 0) return compared;
    }
    return a - b;
  };
  const rows = Uint32Array.from(hits.distances, (_, i) => i);
  let start = 0;
  for (const count of hits.counts) {
    const ofQuery = rows.slice(start, start + count);
    rows.set(await firstRows([ofQuery], compare, null, proxy.actor.clock), start);
    start += count;
  }
  return { ...found, hits: pickHits([hits], hits.counts, { sources: new Uint32Array(rows.length), rows }) };
}
