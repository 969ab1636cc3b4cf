/**
 * A bounded cache of objects on local disk: what a query node reads more than once.
 *
 * Owns its folder: one file an object, named by digest and size (so equal objects share a file, and a file tells what it
 * must contain). One process at a time.
 * Invariants
 *   D1. The files, those on their way included, never add up to more than maxBytes.
 *   D2. A pinned file stays; of the others the least recently used goes first.
 *   D3. No file is handed out unchecked: a download is checked as it comes, a file of an earlier process when it is
 *       first asked for, its size every time; one taken over was read as the object was stored.
 *
 * All bookkeeping is synchronous; a file that goes is first renamed, so its name is free at once.
 */
import { renameSync } from "node:fs";
import { mkdir, readdir, readFile, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { VdbError } from "../errors.ts";
import { measureContent, withFile } from "./content.ts";
import type { BlobPort, ObjectRef } from "./port.ts";

export interface DiskCacheOptions {
  /** Made when missing. Files in it that are not the cache's are removed. */
  dir: string;
  maxBytes: number;
  blob: Pick<BlobPort, "getFile">;
}

/** A file that stays where it is until it is disposed of. */
export interface PinnedFile extends Disposable {
  readonly path: string;
  read(): Promise<Uint8Array>;
}

export interface DiskCache extends AsyncDisposable {
  /**
   * The object as a local file, downloaded unless it is there. Several may ask at once: it is downloaded once, and
   * given up only when all of them have.
   * @throws VdbError memory_limit when it can never fit or the disk is full; overloaded when everything is pinned;
   *   corrupt; unavailable; canceled
   */
  acquire(ref: ObjectRef, signal?: AbortSignal): Promise<PinnedFile>;
  /**
   * Takes over a file on the same disk that has just been stored as the object, so that it is not downloaded again; false
   * when it is known already or there is no room without putting others out. The file is the caller's then.
   */
  adopt(ref: ObjectRef, path: string): boolean;
  usage(): { files: number; bytes: number; pinnedBytes: number };
}

export async function createDiskCache(options: DiskCacheOptions): Promise<DiskCache> {
  await mkdir(options.dir, { recursive: true });
  const cache = new FileCache(options);
  await cache.adoptFiles();
  return cache;
}

interface Entry {
  name: string;
  path: string;
  bytes: number;
  /** Whether this process has seen the content to be right. */
  isChecked: boolean;
  /** Holders of the file and waiters for it. */
  pins: number;
  preparation: Preparation | null;
}

/** The check of a file, or its download. */
interface Preparation {
  done: Promise<void>;
  waiters: number;
  controller: AbortController;
}

const FILE_NAME = /^[0-9a-f]{64}-(\d+)$/;

class FileCache implements DiskCache {
  readonly #dir: string;
  readonly #maxBytes: number;
  readonly #blob: Pick<BlobPort, "getFile">;
  /** Least recently used first. */
  readonly #entries = new Map<string, Entry>();
  readonly #removals = new Set<Promise<void>>();
  #bytes = 0;
  #removalCount = 0;
  #isClosed = false;

  constructor(options: DiskCacheOptions) {
    this.#dir = options.dir;
    this.#maxBytes = options.maxBytes;
    this.#blob = options.blob;
  }

  /** Takes over what an earlier process left, oldest download first; removes incomplete files. */
  async adoptFiles(): Promise<void> {
    const found: { name: string; bytes: number; modifiedMs: number }[] = [];
    for (const name of await readdir(this.#dir)) {
      const path = join(this.#dir, name);
      const facts = await stat(path);
      const bytes = Number(FILE_NAME.exec(name)?.[1] ?? Number.NaN);
      if (facts.isFile() && facts.size === bytes) found.push({ name, bytes, modifiedMs: facts.mtimeMs });
      else await rm(path, { recursive: true, force: true });
    }
    found.sort((a, b) => a.modifiedMs - b.modifiedMs);
    for (const { name, bytes } of found) this.#addEntry(name, bytes);
    this.#makeRoom(0);
    await Promise.all(this.#removals);
  }

  async acquire(ref: ObjectRef, signal?: AbortSignal): Promise<PinnedFile> {
    const name = fileName(ref);
    for (;;) {
      if (signal?.aborted || this.#isClosed)
        throw new VdbError("canceled", `object ${ref.name} is not needed any more`);
      const entry = this.#entries.get(name) ?? this.#reserve(name, ref);
      // Last in the map: most recently used.
      this.#entries.delete(name);
      this.#entries.set(name, entry);
      entry.pins++;
      try {
        if (await this.#prepared(entry, ref, signal)) return pinned(entry);
      } catch (error) {
        entry.pins--;
        throw error;
      }
      entry.pins--;
    }
  }

  adopt(ref: ObjectRef, path: string): boolean {
    const name = fileName(ref);
    if (this.#isClosed || this.#entries.has(name) || this.#bytes + ref.bytes > this.#maxBytes) return false;
    try {
      // Its digest is of these very bytes, read when they were stored.
      renameSync(path, join(this.#dir, name));
    } catch {
      return false;
    }
    this.#addEntry(name, ref.bytes).isChecked = true;
    return true;
  }

  usage(): { files: number; bytes: number; pinnedBytes: number } {
    let pinnedBytes = 0;
    for (const entry of this.#entries.values()) if (entry.pins > 0) pinnedBytes += entry.bytes;
    return { files: this.#entries.size, bytes: this.#bytes, pinnedBytes };
  }

  /** Gives up all downloads. The files stay for the next process. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#isClosed = true;
    const running = [...this.#entries.values()].flatMap(({ preparation }) => preparation ?? []);
    for (const { controller } of running) controller.abort();
    await Promise.allSettled(running.map(({ done }) => done));
    await Promise.all(this.#removals);
  }

  // -- room

  #reserve(name: string, ref: ObjectRef): Entry {
    if (ref.bytes > this.#maxBytes) {
      const message = `object ${ref.name} has ${ref.bytes} bytes, the disk cache holds ${this.#maxBytes}: give it more`;
      throw new VdbError("memory_limit", message, { details: { bytes: ref.bytes, maxBytes: this.#maxBytes } });
    }
    if (!this.#makeRoom(ref.bytes)) {
      const { pinnedBytes } = this.usage();
      const message = `no room for the ${ref.bytes} bytes of object ${ref.name}: ${pinnedBytes} of ${this.#maxBytes} bytes of the disk cache are in use`;
      throw new VdbError("overloaded", message, { details: { bytes: ref.bytes, pinnedBytes } });
    }
    return this.#addEntry(name, ref.bytes);
  }

  #addEntry(name: string, bytes: number): Entry {
    const entry: Entry = { name, path: join(this.#dir, name), bytes, isChecked: false, pins: 0, preparation: null };
    this.#entries.set(name, entry);
    this.#bytes += bytes;
    return entry;
  }

  /** Evicts until `bytes` more fit. False, with nothing evicted, when too much is pinned. */
  #makeRoom(bytes: number): boolean {
    if (this.usage().pinnedBytes + bytes > this.#maxBytes) return false;
    for (const entry of this.#entries.values()) {
      if (this.#bytes + bytes <= this.#maxBytes) break;
      if (entry.pins === 0) this.#dropEntry(entry);
    }
    return true;
  }

  #dropEntry(entry: Entry): void {
    if (this.#entries.get(entry.name) !== entry) return;
    this.#entries.delete(entry.name);
    this.#bytes -= entry.bytes;
    this.#removeFile(entry.path);
  }

  #removeFile(path: string): void {
    const doomed = `${path}.doomed-${this.#removalCount++}`;
    try {
      renameSync(path, doomed);
    } catch {
      // It was never there, or somebody else has removed it: either way the name is free.
      return;
    }
    // What cannot be removed now is removed when the next process starts.
    const removal = rm(doomed, { force: true }).catch(() => undefined);
    this.#removals.add(removal);
    void removal.finally(() => this.#removals.delete(removal));
  }

  // -- files

  /** Resolves when the entry's file is there and right; with false when others gave up on it just as this caller came. */
  async #prepared(entry: Entry, ref: ObjectRef, signal: AbortSignal | undefined): Promise<boolean> {
    entry.preparation ??= this.#startPreparation(entry, ref);
    const preparation = entry.preparation;
    preparation.waiters++;
    try {
      await orAborted(preparation.done, signal);
      return true;
    } catch (error) {
      if (preparation.controller.signal.aborted && !signal?.aborted) return false;
      throw error;
    } finally {
      preparation.waiters--;
      if (preparation.waiters === 0) preparation.controller.abort();
    }
  }

  #startPreparation(entry: Entry, ref: ObjectRef): Preparation {
    const controller = new AbortController();
    const done = this.#prepare(entry, ref, controller.signal).then(
      () => {
        entry.preparation = null;
      },
      (error: unknown) => {
        entry.preparation = null;
        this.#dropEntry(entry);
        throw isDiskFull(error) ? diskFull(ref, this.#dir, error) : error;
      },
    );
    // Everybody who waited for it may have gone.
    done.catch(() => undefined);
    return { done, waiters: 0, controller };
  }

  async #prepare(entry: Entry, ref: ObjectRef, signal: AbortSignal): Promise<void> {
    if (await isIntact(entry, ref)) {
      entry.isChecked = true;
      return;
    }
    this.#removeFile(entry.path);
    await this.#blob.getFile(ref, entry.path, signal);
    entry.isChecked = true;
  }
}

/** Whether the file is there with the right size, and content unless that was checked before. */
async function isIntact(entry: Entry, ref: ObjectRef): Promise<boolean> {
  const facts = await stat(entry.path).catch(() => null);
  if (facts === null || facts.size !== entry.bytes) return false;
  if (entry.isChecked) return true;
  const { digest } = await withFile(entry.path, measureContent);
  return digest === ref.digest;
}

function pinned(entry: Entry): PinnedFile {
  let isHeld = true;
  return {
    path: entry.path,
    read: () => readFile(entry.path),
    [Symbol.dispose]: () => {
      if (isHeld) entry.pins--;
      isHeld = false;
    },
  };
}

function fileName(ref: ObjectRef): string {
  const sha256 = Buffer.from(ref.digest.replace(/^SHA-256=/, ""), "base64url");
  if (sha256.length === 32 && ref.digest.startsWith("SHA-256=")) return `${sha256.toString("hex")}-${ref.bytes}`;
  throw new VdbError("corrupt", `the reference to object ${ref.name} has no SHA-256 digest: ${ref.digest}`);
}

/** Waits for a promise until the signal aborts; what becomes of the promise then is not this caller's business. */
async function orAborted(promise: Promise<void>, signal: AbortSignal | undefined): Promise<void> {
  if (signal === undefined) return await promise;
  let onAbort = (): void => undefined;
  const aborted = new Promise<never>((_, reject) => {
    onAbort = () => reject(new VdbError("canceled", "stopped while waiting for an object"));
    signal.addEventListener("abort", onAbort, { once: true });
  });
  try {
    await Promise.race([promise, aborted]);
  } finally {
    signal.removeEventListener("abort", onAbort);
  }
}

function isDiskFull(error: unknown): boolean {
  return error instanceof Error && (error as NodeJS.ErrnoException).code === "ENOSPC";
}

function diskFull(ref: ObjectRef, dir: string, cause: unknown): VdbError {
  const message = `the disk under ${dir} is full, object ${ref.name} (${ref.bytes} bytes) does not fit: free space, or give the disk cache fewer bytes than the disk has`;
  return new VdbError("memory_limit", message, { cause });
}
