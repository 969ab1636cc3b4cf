/**
 * The object store of a simulated cluster. A put sends its chunks, then the meta message that makes them an object: what
 * ends in between leaves chunks that nobody names.
 */
import { createHash } from "node:crypto";
import { formatDigest } from "../blob/object-layout.ts";
import type { BlobPort, ObjectListing, ObjectRef } from "../blob/port.ts";
import type { Clock } from "../clock.ts";
import { isVdbError, VdbError } from "../errors.ts";
import { type Link, request, type ServerState } from "./link.ts";

const TIMEOUT_MS = 5_000;
const PUT_TRIES_MAX = 5;

interface StoredObject {
  bytes: Uint8Array;
  /** As it was stored with, and of the bytes as they are. */
  digest: string;
  trueDigest: string;
  storedAt: number;
}

/** The part at the server. */
export class BlobStore {
  readonly objects = new Map<string, StoredObject>();
  /** Chunks that no object names, with the time of storing. */
  readonly orphans = new Map<string, number>();
  /** Called before an object goes. */
  onRemove: ((name: string) => void) | undefined;

  /** Flips a byte: what is read from then on is not what was stored. */
  corrupt(name: string): void {
    const stored = this.objects.get(name);
    if (stored === undefined || stored.bytes.length === 0) return;
    const bytes = stored.bytes.slice();
    const at = bytes.length >> 1;
    bytes[at] = bytes[at]! ^ 0xff;
    this.objects.set(name, { ...stored, bytes, trueDigest: digestOf(bytes) });
  }
}

/** Files of a simulated machine, by path. */
export type Files = Map<string, Uint8Array>;

export function createSimBlob(store: BlobStore, server: ServerState, link: Link, clock: Clock, files: Files): BlobPort {
  const { process } = link;
  const { scheduler } = server;
  let puts = 0;

  const ask = async <T>(label: string, act: () => T): Promise<T> => {
    // Its streams have leaders of their own; one that is cut off does nothing here.
    const answer = await request(link, server, { label, store: "blob", timeoutMs: TIMEOUT_MS, isWrite: true }, act);
    if (answer === null) throw new VdbError("unavailable", `${label}: no answer`);
    return answer.value;
  };

  const acceptSame = (name: string, existing: StoredObject, ref: ObjectRef): ObjectRef => {
    const difference = differenceOf(existing, ref);
    if (difference === null) return ref;
    throw new VdbError(
      "internal",
      `object ${name} exists already and is another one: ${difference}; names must be new`,
    );
  };

  const put = async (name: string, content: AsyncIterable<Uint8Array> | Iterable<Uint8Array>): Promise<ObjectRef> => {
    const bytes = await joined(content);
    const digest = digestOf(bytes);
    const ref = { name, bytes: bytes.length, digest };
    const attempt = `${process.name}-${++puts}`;
    const current = await ask("blob chunks", () => {
      const existing = store.objects.get(name);
      if (existing === undefined) store.orphans.set(attempt, scheduler.wallClock);
      return existing;
    });
    if (current !== undefined) return acceptSame(name, current, ref);
    const found = await ask("blob name", () => {
      const existing = store.objects.get(name);
      if (existing === undefined) {
        store.objects.set(name, { bytes, digest, trueDigest: digest, storedAt: scheduler.wallClock });
        store.orphans.delete(attempt);
      }
      return existing;
    });
    if (found === undefined) return ref;
    await ask("blob purge", () => store.orphans.delete(attempt));
    return acceptSame(name, found, ref);
  };

  const get = async (ref: ObjectRef, signal?: AbortSignal): Promise<Uint8Array> => {
    const stored = await ask("blob get", () => store.objects.get(ref.name));
    if (signal?.aborted) throw new VdbError("canceled", `a read of ${ref.name} was stopped`);
    const taken = stored === undefined ? undefined : { bytes: stored.bytes, digest: stored.trueDigest };
    const problem = taken === undefined ? "it does not exist" : differenceOf(taken, ref);
    if (problem !== null) {
      const details = { object: ref.name, digest: ref.digest };
      throw new VdbError("corrupt", `object ${ref.name} is damaged: ${problem}`, { details });
    }
    // Of its own, and aligned: typed arrays may be laid over it.
    return taken!.bytes.slice();
  };

  return {
    put,
    async putFile(name, path) {
      for (let tries = 1; ; tries++) {
        try {
          return await put(name, [files.get(path) ?? new Uint8Array(0)]);
        } catch (error) {
          if (!isVdbError(error, "unavailable") || tries === PUT_TRIES_MAX) throw error;
        }
        await clock.sleep(100 * tries);
      }
    },
    get: (ref) => get(ref),
    async getFile(ref, path, signal) {
      if (files.has(path)) throw new Error(`${path} exists already`);
      files.set(path, await get(ref, signal));
    },
    async remove(name) {
      await ask("blob remove", () => {
        if (store.objects.has(name)) store.onRemove?.(name);
        store.objects.delete(name);
      });
    },
    list: () =>
      ask("blob list", () =>
        [...store.objects].map(
          ([name, { bytes, digest, storedAt }]): ObjectListing => ({ name, bytes: bytes.length, digest, storedAt }),
        ),
      ),
    removeOrphans: (olderThanMs) =>
      ask("blob orphans", () => {
        let removed = 0;
        for (const [attempt, at] of store.orphans) {
          if (scheduler.wallClock - at < olderThanMs) continue;
          store.orphans.delete(attempt);
          removed++;
        }
        return removed;
      }),
  };
}

function digestOf(bytes: Uint8Array): string {
  return formatDigest(createHash("sha256").update(bytes).digest());
}

function differenceOf(found: { bytes: Uint8Array; digest: string }, expected: ObjectRef): string | null {
  if (found.bytes.length !== expected.bytes) return `it has ${found.bytes.length} bytes, expected ${expected.bytes}`;
  if (found.digest !== expected.digest) return `its digest is ${found.digest}, expected ${expected.digest}`;
  return null;
}

async function joined(content: AsyncIterable<Uint8Array> | Iterable<Uint8Array>): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  for await (const part of content) parts.push(part);
  return new Uint8Array(Buffer.concat(parts));
}
