import { isVdbError } from "../../../runtime/errors.ts";

/** Once more, when a segment has gone between the search and the fetch of its rows' fields. */
export async function twice<T>(search: () => Promise<T>): Promise<T> {
  try {
    return await search();
  } catch (error) {
    if (!isVdbError(error, "segment_not_loaded")) throw error;
    return search();
  }
}
