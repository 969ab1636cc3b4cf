/** common.Status: how a reply says whether its request succeeded. An RPC that the handlers refuse ends well on the wire. */
import { ERRORS, VdbError } from "../../../runtime/errors.ts";
import type { Message } from "./definitions.ts";

/** The enum that Status.code has replaced. Old clients read it, and newer ones take either for a failure. */
const LEGACY_CODES: Readonly<Record<number, string>> = {
  [ERRORS.not_ready.code]: "NotReadyServe",
  [ERRORS.memory_limit.code]: "InsufficientMemoryToLoad",
  [ERRORS.rate_limited.code]: "RateLimit",
  [ERRORS.quota_exceeded.code]: "ForceDeny",
  [ERRORS.collection_not_found.code]: "CollectionNotExists",
  [ERRORS.schema_mismatch.code]: "SchemaMismatch",
  [ERRORS.segment_not_loaded.code]: "SegmentNotFound",
  [ERRORS.index_not_found.code]: "IndexNotExist",
  [ERRORS.invalid_parameter.code]: "IllegalArgument",
};

/** Kinds that are the caller's fault: the same request fails again until it is changed. */
const INPUT_CODES = [1100, 1999] as const;

export const OK_STATUS: Message = { errorCode: 0, reason: "", code: 0, retriable: false, detail: "", extraInfo: {} };

export function statusOf(error: VdbError): Message {
  const { code, message, retriable, details } = error;
  const extraInfo: Record<string, string> = {};
  for (const [key, value] of Object.entries(details ?? {})) extraInfo[key] = String(value);
  if (code >= INPUT_CODES[0] && code <= INPUT_CODES[1]) extraInfo.is_input_error = "true";
  return {
    errorCode: LEGACY_CODES[code] ?? "UnexpectedError",
    reason: message,
    code,
    retriable,
    detail: message,
    extraInfo,
  };
}

export function unimplemented(what: string): VdbError {
  return new VdbError("unimplemented", `${what} is not implemented`);
}
