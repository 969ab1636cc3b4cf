/** Pages of results: Milvus's window of offset + limit. */
import { VdbError } from "../../runtime/errors.ts";

/** quotaAndLimits.limits.maxQueryResultWindow and topK of Milvus. */
export const WINDOW_MAX = 16_384;

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
