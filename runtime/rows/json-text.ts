/** JSON values of rows as the text that columns keep. */
import { toJson } from "../protocol/public-codec.ts";

/** Levels of lists and objects in one value. A filter over a stored value goes down its levels on the stack. */
export const JSON_DEPTH_MAX = 500;

/**
 * The text of a JSON value; undefined when it is none. As in Milvus's REST, a string that is the text of a JSON value
 * stands for that value, so what a reply shows can be inserted again; any other string is a JSON string.
 */
export function jsonTextOf(value: unknown): string | undefined {
  if (typeof value === "string" && isJsonText(value)) return value;
  return nativeJsonText(value);
}

/** The text of a value as it is; int64 stays exact. Undefined for what JSON has no form for. @throws RangeError for what is nested too deep to be written */
export function nativeJsonText(value: unknown): string | undefined {
  if (typeof value === "bigint" || ArrayBuffer.isView(value)) return toJson(value);
  try {
    return JSON.stringify(value);
  } catch (error) {
    // JSON.stringify does not take the bigints that a value may hold somewhere inside; a cycle it does not take either.
    if (error instanceof TypeError && /BigInt/.test(error.message)) return toJson(value);
    if (error instanceof RangeError) throw error;
    return undefined;
  }
}

/** Whether a JSON text has more than JSON_DEPTH_MAX levels. */
export function isTooDeep(text: string): boolean {
  // Each level is closed again: most texts are too short to have so many.
  if (text.length <= 2 * JSON_DEPTH_MAX) return false;
  let depth = 0;
  for (const [token] of text.matchAll(/"(?:[^"\\]|\\.)*"|[[\]{}]/gs)) {
    if (token === "[" || token === "{") depth++;
    else if (token === "]" || token === "}") depth--;
    if (depth > JSON_DEPTH_MAX) return true;
  }
  return false;
}

function isJsonText(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}
