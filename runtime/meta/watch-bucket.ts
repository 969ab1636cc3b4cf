/**
 * Watching the keys of a KV bucket: first the state as of the start, as one call, then every commit as one call.
 *
 * The stream tail handles silence and restarts. Changes made while it could not follow arrive as one call too: earlier changes
 * of a key that changed several times are gone, so batches cannot be told apart any more.
 */
import type { NatsConnection } from "nats";
import { VdbError } from "../errors.ts";
import { type StreamMessage, tailStream } from "../nats/stream-tail.ts";
import { BatchGrouping } from "./batch-grouping.ts";
import { isTombstone, kvKey, kvStream, kvSubject, TOMBSTONE_TTL_SECONDS } from "./kv-names.ts";
import type { MetaChange, MetaWatch } from "./port.ts";

/** Half of what deletions are remembered for. */
const ABSENCE_MS_MAX = (TOMBSTONE_TTL_SECONDS * 1_000) / 2;

export interface WatchOptions {
  bucket: string;
  /** "" for all keys; `a.` for those with that prefix; `a` for one key. */
  prefixes: string[];
  /** Key that ends every batch of the bucket: always followed, shown only when a prefix covers it. */
  batchMarker?: string;
}

/** @throws VdbError unavailable when the watch cannot be set up now */
export async function watchBucket(
  nc: NatsConnection,
  options: WatchOptions,
  handler: (changes: MetaChange[]) => void,
): Promise<MetaWatch> {
  const { bucket, prefixes, batchMarker } = options;
  const subjects = prefixes.map((prefix) => kvSubject(bucket, prefix));
  const filterSubjects = [...subjects];
  const isMarkerAsked = batchMarker === undefined || prefixes.some((prefix) => covers(prefix, batchMarker));
  if (!isMarkerAsked) filterSubjects.push(kvSubject(bucket, batchMarker));

  const deliver = (messages: StreamMessage[]): void => {
    const changes: MetaChange[] = [];
    for (const message of messages) {
      const key = kvKey(bucket, message.subject);
      if (isMarkerAsked || key !== batchMarker) changes.push(toChange(key, message));
    }
    if (changes.length > 0) handler(changes);
  };
  let snapshot: StreamMessage[] | null = [];
  const grouping = new BatchGrouping(deliver);
  let resolveReady = (): void => undefined;
  let rejectReady = (_error: unknown): void => undefined;
  const ready = new Promise<void>((resolve, reject) => {
    resolveReady = resolve;
    rejectReady = reject;
  });
  ready.catch(() => undefined);

  const tail = await tailStream(nc, {
    stream: kvStream(bucket),
    filterSubjects,
    start: "lastPerSubject",
    absenceMsMax: ABSENCE_MS_MAX,
    handler: (message) => {
      if (snapshot !== null) snapshot.push(message);
      else grouping.add(message);
    },
    onGap: () => {
      snapshot = grouping.takeOpen();
    },
    onCaughtUp: () => {
      const messages = snapshot ?? [];
      snapshot = null;
      deliver(messages);
      resolveReady();
    },
  });
  tail.failed.catch(rejectReady);
  return {
    ready,
    failed: tail.failed,
    async [Symbol.asyncDispose]() {
      await tail[Symbol.asyncDispose]();
      rejectReady(new VdbError("canceled", "the watch was closed"));
    },
  };
}

function covers(prefix: string, key: string): boolean {
  return prefix === "" || prefix === key || (prefix.endsWith(".") && key.startsWith(prefix));
}

function toChange(key: string, message: StreamMessage): MetaChange {
  // Copied (a Buffer's slice would not): the payload may be a view of a far larger buffer of the connection.
  const value = isTombstone(message.headers) ? null : new Uint8Array(message.payload);
  return { key, value, revision: message.seq };
}
