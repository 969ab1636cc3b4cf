/**
 * Roughly how large a request is, without looking at all of it: for long lists, a sample of the items stands for the
 * rest.
 */
import type { CollectionSchema } from "../../../runtime/schema.ts";
import { valueIn } from "../parse-body.ts";

const SAMPLED = 16;

/** Bytes of what a body holds: numbers as eight. */
export function approximateBytes(value: unknown): number {
  if (typeof value === "string") return value.length;
  if (typeof value === "number" || typeof value === "bigint") return 8;
  if (typeof value !== "object" || value === null) return 1;
  if (ArrayBuffer.isView(value)) return value.byteLength;
  if (Array.isArray(value)) {
    const step = Math.max(1, Math.floor(value.length / SAMPLED));
    let bytes = 0;
    let count = 0;
    for (let i = 0; i < value.length; i += step) {
      bytes += approximateBytes(value[i]);
      count++;
    }
    return count === 0 ? 0 : (bytes / count) * value.length;
  }
  let bytes = 0;
  for (const item of Object.values(value)) bytes += approximateBytes(item);
  return bytes;
}

/** Vectors that a search asks for the neighbours of. @param schema the collection's, as far as it is known */
export function queryCount(body: unknown, schema?: Pick<CollectionSchema, "fields">): number {
  // Keys in any case, as the request is read: or whoever writes them otherwise is not counted.
  const [data, ids, search, name] = ["data", "ids", "search", "annsField"].map((key) => valueIn(body, key));
  if (Array.isArray(search)) return search.reduce((sum: number, one) => sum + queryCount(one, schema), 0);
  if (data instanceof Float32Array) {
    const { dimension = data.length } =
      schema?.fields.find((field) => (name === undefined ? field.type === "FloatVector" : field.name === name)) ?? {};
    return Math.max(1, Math.ceil(data.length / dimension));
  }
  const queries = Array.isArray(data) ? data : ids;
  // One vector may stand alone.
  if (!Array.isArray(queries) || typeof queries[0] === "number") return Array.isArray(ids) ? ids.length : 1;
  return Math.max(1, queries.length);
}
