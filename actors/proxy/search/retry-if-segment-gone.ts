/** A segment may be replaced between a search and the fetch of its rows' fields: then both are done once more. */
import { isVdbError } from "../../../runtime/errors.ts";

/** @throws whatever `search` throws, segment_not_loaded only when the second attempt does, too */
export async function retryIfSegmentGone<T>(search: () => Promise<T>): Promise<T> {
  try {
    return await search();
  } catch (error) {
    if (!isVdbError(error, "segment_not_loaded")) throw error;
    return search();
  }
}
