/** What searches send and get, in the forms of the client. */
import type { PublicReply } from "../runtime/protocol/public.ts";
import type { Hit, QueryVector } from "./types.ts";

/** One vector is a list of one. A Float32Array goes as it is: the database knows the dimension. */
export function searchData(data: QueryVector | readonly QueryVector[]): unknown {
  if (data instanceof Float32Array) return data;
  return Array.isArray(data) && typeof data[0] !== "number" ? data : [data];
}

/** A list of hits for each query. */
export function hitsOfQueries(reply: PublicReply): Hit[][] {
  const hits = reply.data as Hit[];
  let start = 0;
  return (reply.topks as number[]).map((count) => {
    start += count;
    return hits.slice(start - count, start);
  });
}
