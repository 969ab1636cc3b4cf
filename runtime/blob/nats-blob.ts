/**
 * The object store on NATS: immutable objects in a JetStream object store bucket, readable by any client's.
 *
 * Owns the bucket `<prefix>-objects`.
 * Invariants
 *   B1. An object's name is created once: its meta message expects that there is none, and comes after all its chunks.
 *   B2. Nothing is handed out whose size and SHA-256 were not checked against the reference.
 *   B3. A failed or abandoned put leaves chunks that no meta names: never seen, removed by itself or by removeOrphans.
 */

import { existsSync } from "node:fs";
import { rename, rm } from "node:fs/promises";
import { DiscardPolicy, RetentionPolicy, StorageType, type StoredMsg } from "@nats-io/jetstream";
import { type NatsConnection, nuid } from "nats";
import type { Clock } from "../clock.ts";
import { isVdbError, VdbError } from "../errors.ts";
import { type CommitOptions, commitWrites } from "../meta/commit.ts";
import { ensureStream, openStream, type StreamSettings } from "../meta/ensure-stream.ts";
import { ROLLUP_HEADER } from "../meta/kv-names.ts";
import { backoffMs, createStreamCalls, type StreamCalls } from "../meta/stream-calls.ts";
import type { Random } from "../random.ts";
import { type Content, type ContentFacts, type Fill, measureContent, withFile, withPieces } from "./content.ts";
import { readDirect } from "./direct-read.ts";
import { type Chunks, differenceOf, joinChunks, type Received, writeChunks } from "./get-object.ts";
import {
  chunkSubject,
  metaSubject,
  type ObjectMeta,
  objectBucket,
  objectStream,
  parseObjectMeta,
} from "./object-layout.ts";
import type { BlobPort, ObjectListing, ObjectRef } from "./port.ts";
import { chunkBytesFor, sendChunks } from "./put-object.ts";

export interface NatsBlob extends BlobPort {
  /** As NatsMeta.ensure. */
  ensure(options: { replicas: number }): Promise<void>;
  /** As NatsMeta.open. */
  open(options: { deadlineMs: number; signal?: AbortSignal }): Promise<void>;
}

export interface NatsBlobOptions {
  prefix: string;
  clock: Clock;
  random: Random;
}

const READ_TIMEOUT_MS = 10_000;
/** A file can be sent again: over the restart or election of a server. */
const PUT_TRIES_MAX = 5;
/** A meta message: small, for sizing list requests. */
const META_BYTES = 8_192;

/** @param nc the connection for bulk traffic: chunks would hold up what else it carries */
export function createNatsBlob(nc: NatsConnection, options: NatsBlobOptions): NatsBlob {
  const bucket = objectBucket(options.prefix);
  const calls = createStreamCalls(nc, { ...options, stream: objectStream(bucket) });
  const { clock } = options;
  const store = new ObjectStore(nc, bucket, calls, options);
  return {
    async ensure({ replicas }) {
      await ensureStream(calls, bucketSettings(bucket), { replicas, clock });
    },
    async open({ deadlineMs, signal }) {
      await openStream(calls, bucketSettings(bucket), { clock, deadlineMs, signal });
    },
    put: (name, content) => store.put(name, content),
    putFile: (name, path) => store.putFile(name, path),
    get: (ref) => store.get(ref),
    getFile: (ref, path, signal) => store.getFile(ref, path, signal),
    remove: (name) => store.remove(name),
    list: () => store.list(),
    removeOrphans: (olderThanMs) => store.removeOrphans(olderThanMs),
  };
}

/** As the npm client creates it. */
function bucketSettings(bucket: string): StreamSettings {
  return {
    name: objectStream(bucket),
    subjects: [chunkSubject(bucket, ">"), `$O.${bucket}.M.>`],
    retention: RetentionPolicy.Limits,
    storage: StorageType.File,
    discard: DiscardPolicy.New,
    allow_rollup_hdrs: true,
    allow_direct: true,
  };
}

/** A meta message with its place in the stream. */
interface StoredMeta {
  meta: ObjectMeta;
  seq: number;
  /** False for the trace of a removed object. */
  isPresent: boolean;
}

class ObjectStore {
  readonly #nc: NatsConnection;
  readonly #bucket: string;
  readonly #calls: StreamCalls;
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #commitOptions: CommitOptions;

  constructor(nc: NatsConnection, bucket: string, calls: StreamCalls, options: { clock: Clock; random: Random }) {
    this.#nc = nc;
    this.#bucket = bucket;
    this.#calls = calls;
    this.#clock = options.clock;
    this.#random = options.random;
    // An object is committed by one message, so the marker is never written.
    this.#commitOptions = { ...options, calls, markerSubject: "", whenEvidenceIsGone: "unavailable" };
  }

  // -- put

  put(name: string, content: Content): Promise<ObjectRef> {
    return withPieces(content, (fill) => this.#putAll(name, fill));
  }

  async #putAll(name: string, fill: Fill): Promise<ObjectRef> {
    const current = await this.#readMeta(name);
    if (current?.isPresent) return acceptSame(name, current.meta, await measureContent(fill));
    const attemptId = nuid.next();
    const subject = chunkSubject(this.#bucket, attemptId);
    const chunkBytes = chunkBytesFor(this.#nc.info!.max_payload);
    const facts = await this.#sendOrPurge({ subject, chunkBytes }, fill);
    const meta: ObjectMeta = {
      name,
      description: "",
      options: { max_chunk_size: chunkBytes },
      bucket: this.#bucket,
      nuid: attemptId,
      ...facts,
      deleted: false,
      mtime: new Date(this.#clock.now()).toISOString(),
    };
    if (await this.#publishMeta(meta, current?.seq ?? 0)) return { name, bytes: meta.size, digest: meta.digest };
    await this.#purge(subject);
    const winner = await this.#readMeta(name);
    if (!winner?.isPresent) throw new VdbError("unavailable", `object ${name} was removed while it was stored`);
    return acceptSame(name, winner.meta, facts);
  }

  async #sendOrPurge(target: { subject: string; chunkBytes: number }, fill: Fill): Promise<ContentFacts> {
    try {
      return await sendChunks(this.#nc, target, fill);
    } catch (error) {
      // Best effort: what stays is an orphan, and the first error is the one to tell.
      await this.#purge(target.subject).catch(() => undefined);
      throw error;
    }
  }

  async putFile(name: string, path: string): Promise<ObjectRef> {
    for (let tries = 1; ; tries++) {
      try {
        return await withFile(path, (fill) => this.#putAll(name, fill));
      } catch (error) {
        if (!isVdbError(error, "unavailable") || tries === PUT_TRIES_MAX || this.#nc.isClosed()) throw error;
      }
      await this.#clock.sleep(backoffMs(tries, this.#random));
    }
  }

  /** False when the name's newest message is not the expected one. */
  async #publishMeta(meta: ObjectMeta, expectedSeq: number): Promise<boolean> {
    const write = {
      subject: metaSubject(this.#bucket, meta.name),
      payload: Buffer.from(JSON.stringify(meta)),
      headers: { [ROLLUP_HEADER]: "sub" },
      revision: expectedSeq,
    };
    return (await commitWrites(this.#nc, this.#commitOptions, { writes: [write], guards: [] })) !== null;
  }

  // -- get

  async get(ref: ObjectRef): Promise<Uint8Array> {
    const { bytes } = await this.#receive(ref, (chunks) => joinChunks(chunks, ref.bytes), undefined);
    return bytes;
  }

  async getFile(ref: ObjectRef, path: string, signal?: AbortSignal): Promise<void> {
    if (existsSync(path)) throw new Error(`${path} exists already`);
    const partPath = `${path}.part`;
    try {
      await this.#receive(ref, (chunks) => writeChunks(chunks, ref.bytes, partPath), signal);
      await rename(partPath, path);
    } catch (error) {
      await rm(partPath, { force: true });
      throw error;
    }
  }

  /** Has the content taken in, and checks what was taken. */
  async #receive<T extends Received>(
    ref: ObjectRef,
    take: (chunks: Chunks) => Promise<T>,
    signal: AbortSignal | undefined,
  ): Promise<T> {
    let problem = "";
    // The replica that answered may be behind or damaged: what is wrong is read once more, from the leader.
    for (const fromLeader of [false, true]) {
      const found = await this.#openObject(ref, { fromLeader, signal });
      if (typeof found === "string") {
        problem = found;
        continue;
      }
      const taken = await take(found);
      const difference = differenceOf(taken, ref);
      if (difference === null) return taken;
      problem = difference;
    }
    const details = { object: ref.name, digest: ref.digest };
    throw new VdbError("corrupt", `object ${ref.name} is damaged: ${problem}`, { details });
  }

  /** The object's chunks, or what is wrong with it, in words. */
  async #openObject(
    ref: ObjectRef,
    options: { fromLeader: boolean; signal: AbortSignal | undefined },
  ): Promise<Chunks | string> {
    const { fromLeader, signal } = options;
    const stored = await this.#readMeta(ref.name);
    if (!stored?.isPresent) return "it does not exist";
    const { meta } = stored;
    const difference = differenceOf(meta, ref);
    if (difference !== null) return difference;
    const subject = chunkSubject(this.#bucket, meta.nuid);
    if (fromLeader) return this.#readFromLeader(subject, meta.chunks, signal);
    // 128 KiB is what the npm client takes when nothing was said.
    const messageBytes = meta.options?.max_chunk_size ?? 1 << 17;
    return readDirect(this.#nc, { stream: this.#calls.stream, subject, messageBytes, signal });
  }

  async *#readFromLeader(
    subject: string,
    count: number,
    signal: AbortSignal | undefined,
  ): AsyncGenerator<{ payload: Uint8Array }, void, undefined> {
    let nextSeq = 1;
    for (let i = 0; i < count; i++) {
      if (signal?.aborted) throw new VdbError("canceled", `a read of ${subject} was stopped`);
      const message = await this.#calls.next(subject, nextSeq, this.#readDeadline());
      if (message === null) return;
      nextSeq = message.seq + 1;
      yield { payload: message.data };
    }
  }

  // -- remove and list

  /**
   * First the meta message says "deleted" (then the object is gone for all), then chunks and that message itself go.
   * A crash in between leaves orphans for removeOrphans.
   */
  async remove(name: string): Promise<void> {
    const current = await this.#readMeta(name);
    if (current === null) return;
    const { meta } = current;
    if (current.isPresent) {
      const tombstone: ObjectMeta = { ...meta, deleted: true, size: 0, chunks: 0, digest: "" };
      // Somebody else was faster, then there is nothing left to do for this object.
      if (!(await this.#publishMeta(tombstone, current.seq))) return;
    }
    await this.#purge(chunkSubject(this.#bucket, meta.nuid));
    await this.#purgeTombstone(name);
  }

  async #purgeTombstone(name: string): Promise<void> {
    const current = await this.#readMeta(name);
    if (current === null || current.isPresent) return;
    await this.#purge(metaSubject(this.#bucket, name), current.seq + 1);
  }

  async list(): Promise<ObjectListing[]> {
    const listings: ObjectListing[] = [];
    for await (const { meta, storedAt } of this.#readAllMetas()) {
      if (meta.deleted !== true) listings.push({ name: meta.name, bytes: meta.size, digest: meta.digest, storedAt });
    }
    return listings;
  }

  async removeOrphans(olderThanMs: number): Promise<number> {
    // Subjects first: a put that finishes meanwhile has its meta by the time the metas are read.
    const info = await this.#calls.retrying("status", this.#readDeadline(), (jsm) =>
      jsm.streams.info(this.#calls.stream, { subjects_filter: `$O.${this.#bucket}.>` }),
    );
    const subjects = Object.keys(info.state.subjects ?? {});
    const metaSubjects = new Set(subjects.filter((subject) => subject.startsWith(`$O.${this.#bucket}.M.`)));
    const serverNow = Date.parse(info.ts ?? "") || this.#clock.now();
    const owned = new Set<string>();
    for await (const { meta, subject } of this.#readAllMetas()) {
      metaSubjects.delete(subject);
      if (meta.deleted !== true) owned.add(chunkSubject(this.#bucket, meta.nuid));
    }
    // A replica that is behind the leader does not know all owners: another time.
    if (metaSubjects.size > 0) return 0;
    let removed = 0;
    for (const subject of subjects) {
      if (owned.has(subject) || subject.startsWith(`$O.${this.#bucket}.M.`)) continue;
      const first = await this.#calls.next(subject, 1, this.#readDeadline());
      if (first === null || serverNow - first.time.getTime() < olderThanMs) continue;
      await this.#purge(subject);
      removed++;
    }
    return removed;
  }

  async *#readAllMetas(): AsyncGenerator<{ meta: ObjectMeta; subject: string; storedAt: number }, void, undefined> {
    const request = { stream: this.#calls.stream, subject: `$O.${this.#bucket}.M.>`, messageBytes: META_BYTES };
    for await (const { payload, subject, storedAt } of readDirect(this.#nc, request)) {
      yield { meta: parseObjectMeta(payload), subject, storedAt };
    }
  }

  // -- the stream

  /** Read from the leader, a deletion included. */
  async #readMeta(name: string): Promise<StoredMeta | null> {
    const message: StoredMsg | null = await this.#calls.last(metaSubject(this.#bucket, name), this.#readDeadline());
    if (message === null) return null;
    const meta = parseObjectMeta(message.data);
    return { meta, seq: message.seq, isPresent: meta.deleted !== true };
  }

  async #purge(subject: string, beforeSeq?: number): Promise<void> {
    const request = beforeSeq === undefined ? { filter: subject } : { filter: subject, seq: beforeSeq };
    await this.#calls.retrying("purge", this.#readDeadline(), (jsm) => jsm.streams.purge(this.#calls.stream, request));
  }

  #readDeadline(): number {
    return this.#clock.monotonic() + READ_TIMEOUT_MS;
  }
}

/** An object that is there already is as good as stored when it is the same. */
function acceptSame(name: string, existing: ObjectMeta, offered: { size: number; digest: string }): ObjectRef {
  const ref = { name, bytes: offered.size, digest: offered.digest };
  const difference = differenceOf(existing, ref);
  if (difference === null) return ref;
  throw new VdbError("internal", `object ${name} exists already and is another one: ${difference}; names must be new`);
}
