/** Pages of results: Milvus's window of offset + limit. */
import { VdbError } from "../../runtime/errors.ts";

/** quotaAndLimits.limits.maxQueryResultWindow and topK of Milvus. */
export const WINDOW_MAX = 16_384;

/** Hits of all queries of a request together: they are in memory at once, at every step. Bounded by nq and topk alone it were 2^28. */
const HITS_MAX = 1 << 22;

/** @param parts what each search of a request may find. @throws VdbError invalid_parameter */
export function checkHits(
  parts: readonly { queryCount: number; topK: number; group?: { size: number } | undefined }[],
) {
  const hits = parts.reduce((sum, { queryCount, topK, group }) => sum + queryCount * topK * (group?.size ?? 1), 0);
  if (hits <= HITS_MAX) return;
  throw new VdbError(
    "invalid_parameter",
    `number of result entries is too large: [${hits}] of all queries together, it should be at most ${HITS_MAX}`,
  );
}

/** @param name of the limit in messages. @throws VdbError invalid_parameter, in Milvus's words */
export function checkWindow(limit: number, offset: number, name = "limit"): { limit: number; offset: number } {
  if (limit < 1 || limit > WINDOW_MAX) throw outOfRange(name, limit, 1);
  if (offset < 0) throw outOfRange("offset", offset, 0);
  if (offset + limit > WINDOW_MAX) throw outOfRange("offset+limit", offset + limit, 1);
  return { limit, offset };
}

function outOfRange(name: string, given: number, min: number): VdbError {
  return new VdbError(
    "invalid_parameter",
    `${name} [${given}] is invalid, it should be in range [${min}, ${WINDOW_MAX}], but got ${given}`,
  );
}
