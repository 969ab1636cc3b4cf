/**
 * The meta store on NATS: a KV bucket whose stream takes atomic batches.
 *
 * Owns the bucket `<prefix>-meta`. Any KV client can read it; nobody else may write it.
 * Invariants
 *   M1. A key changes by create or compare-and-set only (commit.ts).
 *   M2. What a commit changes is stored together or not at all; a guard holds it to a key that it does not write.
 *   M3. Every batch ends with the key BATCH_MARKER, so a watch of any prefix sees batches whole.
 */
import type { StoredMsg, StreamConfig } from "@nats-io/jetstream";
import { DiscardPolicy, RetentionPolicy, StorageType } from "@nats-io/jetstream";
import { type NatsConnection, nanos } from "nats";
import type { Clock } from "../clock.ts";
import type { Logger } from "../logger.ts";
import type { Random } from "../random.ts";
import { type CommitOptions, commitWrites, type Guard, type Write } from "./commit.ts";
import { ensureStream, openStream, type StreamSettings } from "./ensure-stream.ts";
import { isTombstone, kvStream, kvSubject, metaBucket, tombstoneHeaders } from "./kv-names.ts";
import type { MetaEntry, MetaOp, MetaPort } from "./port.ts";
import { createStreamCalls } from "./stream-calls.ts";
import { watchBucket } from "./watch-bucket.ts";

/** Reserved: written by every batch (further guards by `txn.<n>`), its value means nothing to anybody. */
const BATCH_MARKER = "txn";

/** A read is repeated for this long before it fails: longer than a server's restart, shorter than a user's patience. */
const READ_TIMEOUT_MS = 5_000;

const EXPIRING = { allow_msg_ttl: true };
const NOTHING = new Uint8Array(0);

export interface NatsMetaOptions {
  prefix: string;
  clock: Clock;
  random: Random;
  logger?: Pick<Logger, "warn">;
}

export interface NatsMeta extends MetaPort {
  /**
   * Creates the bucket, or checks the existing one and raises its replicas: for the node that may create streams.
   * @throws VdbError unexpected when it has other settings, or more replicas; unavailable; not_permitted
   */
  ensure(options: { replicas: number }): Promise<void>;
  /**
   * Waits until the bucket exists and checks it: for all other nodes.
   * @throws VdbError not_ready when it does not exist by the (monotonic) deadline; unexpected; unavailable; canceled
   */
  open(options: { deadlineMs: number; signal?: AbortSignal }): Promise<void>;
}

export function createNatsMeta(nc: NatsConnection, options: NatsMetaOptions): NatsMeta {
  const { prefix, clock, random, logger } = options;
  const bucket = metaBucket(prefix);
  const calls = createStreamCalls(nc, { stream: kvStream(bucket), clock, random });
  const commitOptions: CommitOptions = {
    calls,
    clock,
    random,
    markerSubject: kvSubject(bucket, BATCH_MARKER),
    whenEvidenceIsGone: "unavailable",
  };
  const readDeadline = (): number => clock.monotonic() + READ_TIMEOUT_MS;
  /** A bucket of an earlier version that nobody was permitted to change takes no expiring messages. */
  let isExpiring = false;
  const look = (config: StreamConfig): void => {
    isExpiring = config.allow_msg_ttl === true;
  };

  return {
    async ensure({ replicas }) {
      look(
        await ensureStream(calls, bucketSettings(bucket), {
          replicas,
          added: EXPIRING,
          clock,
          ...(logger && { logger }),
        }),
      );
    },
    async open({ deadlineMs, signal }) {
      look(await openStream(calls, bucketSettings(bucket), { clock, deadlineMs, signal }));
    },
    async get(key) {
      return toEntry(key, await calls.last(kvSubject(bucket, key), readDeadline()));
    },
    async commit(ops) {
      return await commitWrites(nc, commitOptions, planCommit(bucket, ops, isExpiring));
    },
    watch: (prefixes, handler) => watchBucket(nc, { bucket, prefixes, batchMarker: BATCH_MARKER }, handler),
    lastRevision: () => calls.lastSequence(readDeadline()),
  };
}

/** Null for an absent key and for a tombstone. */
export function toEntry(key: string, message: StoredMsg | null): MetaEntry | null {
  if (message === null || isTombstone(message.header)) return null;
  return { key, value: message.data, revision: message.seq };
}

function bucketSettings(bucket: string): StreamSettings {
  return {
    name: kvStream(bucket),
    subjects: [kvSubject(bucket, "")],
    retention: RetentionPolicy.Limits,
    storage: StorageType.File,
    discard: DiscardPolicy.New,
    // Evidence for settling unknown outcomes, and a look back for people.
    max_msgs_per_subject: 8,
    duplicate_window: nanos(120_000),
    allow_rollup_hdrs: true,
    // Removing a message by hand would be a change that no watch sees.
    deny_delete: true,
    allow_direct: true,
    allow_atomic: true,
  };
}

function planCommit(bucket: string, ops: MetaOp[], isExpiring: boolean): { writes: Write[]; guards: Guard[] } {
  const writes: Write[] = [];
  const guards: Guard[] = [];
  const keys = new Set<string>();
  // The newest message of all must stay: a node that starts later waits for its revision. In a batch that is the
  // marker.
  const tombstone = tombstoneHeaders(isExpiring && ops.length > 1);
  for (const op of ops) {
    if (keys.has(op.key)) throw new Error(`a commit names the key ${op.key} twice`);
    keys.add(op.key);
    const subject = kvSubject(bucket, op.key);
    if (op.op === "guard") guards.push({ subject, revision: op.revision });
    else if (op.op === "put") writes.push({ subject, revision: op.revision, payload: op.value, headers: {} });
    else writes.push({ subject, revision: op.revision, payload: NOTHING, headers: tombstone });
  }
  if (writes.length === 0) throw new Error("a commit must write something");
  return { writes, guards };
}
