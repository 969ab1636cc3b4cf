/**
 * Leases on NATS: a KV bucket whose keys expire by the server's clock.
 *
 * Owns the bucket `<prefix>-lease`, history 1. A lease is a message with a TTL; renewing replaces it by compare-and-set
 * (the npm client's own `update` would make it permanent), so the revision is a fencing token that grows over the whole
 * bucket, also across expiry. An expired lease leaves the server's marker, by which watchers learn of it.
 *
 * The bucket must never be deleted while the meta store lives on: its sequence would start again at 1.
 */
import { DiscardPolicy, RetentionPolicy, StorageType } from "@nats-io/jetstream";
import { type NatsConnection, nanos } from "nats";
import type { Clock } from "../clock.ts";
import type { Random } from "../random.ts";
import { type CommitOptions, commitWrites } from "./commit.ts";
import { ensureStream, openStream, type StreamSettings } from "./ensure-stream.ts";
import { kvStream, kvSubject, leaseBucket, TOMBSTONE_TTL_SECONDS, TTL_HEADER, tombstoneHeaders } from "./kv-names.ts";
import { toEntry } from "./nats-meta.ts";
import { showPresence, watchPresence } from "./nats-presence.ts";
import type { LeasePort } from "./port.ts";
import { createStreamCalls } from "./stream-calls.ts";
import { watchBucket } from "./watch-bucket.ts";

const READ_TIMEOUT_MS = 5_000;

export interface NatsLeases extends LeasePort {
  /** Like NatsMeta.ensure. */
  ensure(options: { replicas: number }): Promise<void>;
  /** Like NatsMeta.open. */
  open(options: { deadlineMs: number; signal?: AbortSignal }): Promise<void>;
}

export function createNatsLeases(
  nc: NatsConnection,
  options: { prefix: string; clock: Clock; random: Random },
): NatsLeases {
  const { prefix, clock, random } = options;
  const bucket = leaseBucket(prefix);
  const calls = createStreamCalls(nc, { stream: kvStream(bucket), clock, random });
  const commitOptions: CommitOptions = {
    calls,
    clock,
    random,
    // Never written: a lease is always a commit of one.
    markerSubject: kvSubject(bucket, "txn"),
    // With a history of 1 only the newest message is there; when it is not ours, neither is the lease.
    whenEvidenceIsGone: "conflict",
  };
  const change = (
    key: string,
    message: { value: Uint8Array; revision: number; headers: Record<string, string> },
  ): Promise<number | null> => {
    const { value, revision, headers } = message;
    const write = { subject: kvSubject(bucket, key), payload: value, revision, headers };
    return commitWrites(nc, commitOptions, { writes: [write], guards: [] });
  };

  return {
    async ensure({ replicas }) {
      await ensureStream(calls, bucketSettings(bucket), { replicas, clock });
    },
    async open({ deadlineMs, signal }) {
      await openStream(calls, bucketSettings(bucket), { clock, deadlineMs, signal });
    },
    async acquire(key, value, ttlSeconds) {
      return await change(key, { value, revision: 0, headers: ttlHeader(ttlSeconds) });
    },
    async renew(key, value, ttlSeconds, revision) {
      return await change(key, { value, revision, headers: ttlHeader(ttlSeconds) });
    },
    async release(key, revision) {
      const headers = tombstoneHeaders(true);
      return (await change(key, { value: new Uint8Array(0), revision, headers })) !== null;
    },
    async get(key) {
      return toEntry(key, await calls.last(kvSubject(bucket, key), clock.monotonic() + READ_TIMEOUT_MS));
    },
    watch: (prefixes, handler) => watchBucket(nc, { bucket, prefixes }, handler),
    showPresence: (nodeId) => showPresence(nc, { bucket, nodeId, clock }),
    watchPresence: (onGone) => watchPresence(nc, bucket, onGone),
  };
}

function ttlHeader(ttlSeconds: number): Record<string, string> {
  // The server's clock of expiry ticks in seconds and refuses less than one.
  if (!Number.isInteger(ttlSeconds) || ttlSeconds < 1) {
    throw new Error(`a lease lasts a whole number of seconds, 1 or more, got ${ttlSeconds}`);
  }
  return { [TTL_HEADER]: `${ttlSeconds}s` };
}

function bucketSettings(bucket: string): StreamSettings {
  return {
    name: kvStream(bucket),
    subjects: [kvSubject(bucket, "")],
    retention: RetentionPolicy.Limits,
    storage: StorageType.File,
    discard: DiscardPolicy.New,
    // With a higher value, the markers' TTL would be the minimum for every key.
    max_msgs_per_subject: 1,
    allow_rollup_hdrs: true,
    deny_delete: true,
    allow_direct: true,
    allow_msg_ttl: true,
    subject_delete_marker_ttl: nanos(TOMBSTONE_TTL_SECONDS * 1_000),
  };
}
