/**
 * How a KV bucket lies in its stream (NATS ADR-8), shared by the meta store and the leases, so that `nats kv` and any
 * client's KV reads what we write.
 */
import type { StoredMsg } from "@nats-io/jetstream";
import type { MsgHdrs } from "nats";

const KV_OPERATION_HEADER = "KV-Operation";
export const ROLLUP_HEADER = "Nats-Rollup";
export const TTL_HEADER = "Nats-TTL";
const MARKER_REASON_HEADER = "Nats-Marker-Reason";

/**
 * How long it is remembered that a key is gone: most keys that come and go never come again. A watch that was away
 * for longer would take a key for living, so it fails (watch-bucket.ts).
 */
export const TOMBSTONE_TTL_SECONDS = 86_400;

export function metaBucket(prefix: string): string {
  return `${prefix}-meta`;
}

export function leaseBucket(prefix: string): string {
  return `${prefix}-lease`;
}

export function kvStream(bucket: string): string {
  return `KV_${bucket}`;
}

/** Subject of a key, or of all keys under a prefix that ends with a dot (or is empty). */
export function kvSubject(bucket: string, keyOrPrefix: string): string {
  const isPrefix = keyOrPrefix === "" || keyOrPrefix.endsWith(".");
  return `$KV.${bucket}.${keyOrPrefix}${isPrefix ? ">" : ""}`;
}

export function kvKey(bucket: string, subject: string): string {
  return subject.slice(`$KV.${bucket}.`.length);
}

/** A purge, not just a delete marker: the history of a key that is gone serves nobody. */
export function tombstoneHeaders(expires: boolean): Record<string, string> {
  const headers = { [KV_OPERATION_HEADER]: "PURGE", [ROLLUP_HEADER]: "sub" };
  return expires ? { ...headers, [TTL_HEADER]: `${TOMBSTONE_TTL_SECONDS}s` } : headers;
}

/** Whether a message says that its key is gone: deleted, purged, or expired (the server's own marker). */
export function isTombstone(headers: MsgHdrs | undefined): boolean {
  if (headers === undefined) return false;
  const operation = headers.get(KV_OPERATION_HEADER);
  return operation === "DEL" || operation === "PURGE" || headers.get(MARKER_REASON_HEADER) !== "";
}

export function isLive(message: StoredMsg | null): message is StoredMsg {
  return message !== null && !isTombstone(message.header);
}
