/** JSON values of rows as the text that columns keep. */
import { toJson } from "../protocol/public-codec.ts";

/** Most levels of lists and objects in one value. Filters recurse into stored values. */
export const JSON_DEPTH_MAX = 500;

/**
 * The text of a JSON value; undefined when it is not one. As in Milvus's REST, a string that is the text of a JSON value stands
 * for that value, so what a reply shows can be inserted again; any other string is a JSON string.
 */
export function jsonTextOf(value: unknown): string | undefined {
  if (typeof value === "string" && isJsonText(value)) return value;
  return nativeJsonText(value);
}

/**
 * The text of a value as it is; int64 stays exact. Undefined when JSON cannot express it. @throws RangeError when it is nested
 * too deeply to be written
 */
export function nativeJsonText(value: unknown): string | undefined {
  if (typeof value === "bigint" || ArrayBuffer.isView(value)) return toJson(value);
  try {
    return JSON.stringify(value);
  } catch (error) {
    // JSON.stringify refuses bigints, which a value may hold somewhere inside, and cycles.
    if (error instanceof TypeError && /BigInt/.test(error.message)) return toJson(value);
    if (error instanceof RangeError) throw error;
    return undefined;
  }
}

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const OPEN_LIST = 0x5b;
const CLOSE_LIST = 0x5d;
const OPEN_OBJECT = 0x7b;
const CLOSE_OBJECT = 0x7d;

/** Whether a JSON text has more than JSON_DEPTH_MAX levels. */
export function isTooDeep(text: string): boolean {
  // Each level takes two characters, so most texts are too short to have that many.
  if (text.length <= 2 * JSON_DEPTH_MAX) return false;
  let depth = 0;
  let isText = false;
  for (let at = 0; at < text.length; at++) {
    const char = text.charCodeAt(at);
    if (isText) {
      if (char === BACKSLASH) at++;
      else if (char === QUOTE) isText = false;
    } else if (char === QUOTE) isText = true;
    else if (char === OPEN_OBJECT || char === OPEN_LIST) {
      if (++depth > JSON_DEPTH_MAX) return true;
    } else if (char === CLOSE_OBJECT || char === CLOSE_LIST) depth--;
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
