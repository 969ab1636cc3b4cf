/** Pages of results: Milvus's window of offset + limit. */
import { VdbError } from "../../runtime/errors.ts";

/** quotaAndLimits.limits.maxQueryResultWindow and topK of Milvus. */
export const WINDOW_MAX = 16_384;

/** @throws VdbError invalid_parameter */
export function checkWindow(limit: number, offset: number): { limit: number; offset: number } {
  if (limit < 1 || limit > WINDOW_MAX) {
    throw new VdbError("invalid_parameter", `limit [${limit}] is invalid, it should be in range [1, ${WINDOW_MAX}]`);
  }
  if (offset < 0 || offset + limit > WINDOW_MAX) {
    throw new VdbError(
      "invalid_parameter",
      `offset+limit [${offset + limit}] is invalid, it should be in range [1, ${WINDOW_MAX}], offset at least 0`,
    );
  }
  return { limit, offset };
}
