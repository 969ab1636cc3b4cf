import { createHash, randomBytes } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { mkdtemp, readdir, readFile, rm, stat, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { VdbError } from "../errors.ts";
import { createDiskCache, type DiskCache, type PinnedFile } from "./disk-cache.ts";
import type { BlobPort, ObjectRef } from "./port.ts";

let dir: string;

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "vdb-cache-"));
});

afterEach(async () => {
  await rm(dir, { recursive: true, force: true });
});

/** An object store in memory whose downloads can be held up and counted. */
function memoryBlob() {
  const objects = new Map<string, Uint8Array>();
  let gate: Promise<void> = Promise.resolve();
  const downloads: string[] = [];
  const getFile: BlobPort["getFile"] = async (ref, path, signal) => {
    downloads.push(ref.name);
    if (existsSync(path)) throw new Error(`${path} exists already`);
    await gate;
    if (signal?.aborted) throw new VdbError("canceled", "stopped");
    const content = objects.get(ref.digest);
    if (content === undefined) throw new VdbError("corrupt", `no object ${ref.name}`);
    await writeFile(path, content);
  };
  return {
    getFile,
    downloads,
    add(name: string, content: Uint8Array): ObjectRef {
      const digest = `SHA-256=${createHash("sha256").update(content).digest("base64url")}=`;
      objects.set(digest, content);
      return { name, bytes: content.length, digest };
    },
    /** Holds up all downloads until the returned function is called. */
    hold(): () => void {
      let open = (): void => undefined;
      gate = new Promise((resolve) => {
        open = resolve;
      });
      return open;
    },
  };
}

const open = (blob: Pick<BlobPort, "getFile">, maxBytes = 1_000): Promise<DiskCache> =>
  createDiskCache({ dir, maxBytes, blob });

/** Lets everything run that can run without a new event. */
const settle = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 20));

describe("acquire", () => {
  test("hands out the content, and downloads it once", async () => {
    const blob = memoryBlob();
    const content = randomBytes(100);
    const ref = blob.add("a", content);
    await using cache = await open(blob);
    for (let i = 0; i < 3; i++) {
      using file = await cache.acquire(ref);
      expect(await readFile(file.path)).toEqual(content);
    }
    expect(blob.downloads).toEqual(["a"]);
  });

  test("by many at once downloads once", async () => {
    const blob = memoryBlob();
    const ref = blob.add("a", randomBytes(100));
    await using cache = await open(blob);
    const files = await Promise.all(Array.from({ length: 10 }, () => cache.acquire(ref)));
    expect(new Set(files.map((file) => file.path)).size).toBe(1);
    expect(blob.downloads).toEqual(["a"]);
  });

  test("of an object larger than the cache is refused for good", async () => {
    const blob = memoryBlob();
    await using cache = await open(blob);
    await expect(cache.acquire(blob.add("big", randomBytes(1_001)))).rejects.toMatchObject({ kind: "memory_limit" });
  });

  test("is refused for now while everything is pinned, and evicts nothing for that", async () => {
    const blob = memoryBlob();
    await using cache = await open(blob);
    const unpinned = blob.add("unpinned", randomBytes(300));
    (await cache.acquire(unpinned))[Symbol.dispose]();
    const pin = await cache.acquire(blob.add("pinned", randomBytes(600)));
    const next = blob.add("next", randomBytes(500));
    await expect(cache.acquire(next)).rejects.toMatchObject({ kind: "overloaded" });
    (await cache.acquire(unpinned))[Symbol.dispose]();
    expect(blob.downloads).toEqual(["unpinned", "pinned"]);
    pin[Symbol.dispose]();
    (await cache.acquire(next))[Symbol.dispose]();
  });

  test("evicts the least recently used file that nobody holds", async () => {
    const blob = memoryBlob();
    await using cache = await open(blob);
    const [a, b, c, d] = ["a", "b", "c", "d"].map((name) => blob.add(name, randomBytes(300)));
    const held = await cache.acquire(a!);
    for (const ref of [b!, c!, b!]) (await cache.acquire(ref))[Symbol.dispose]();
    (await cache.acquire(d!))[Symbol.dispose]();
    expect(existsSync(held.path)).toBe(true);
    for (const ref of [a!, b!, d!]) (await cache.acquire(ref))[Symbol.dispose]();
    expect(blob.downloads).toEqual(["a", "b", "c", "d"]);
    (await cache.acquire(c!))[Symbol.dispose]();
    expect(blob.downloads).toEqual(["a", "b", "c", "d", "c"]);
  });

  test("that fails leaves no trace, and works once the object is there", async () => {
    const blob = memoryBlob();
    await using cache = await open(blob);
    const content = randomBytes(900);
    const ref = memoryBlob().add("late", content);
    await expect(cache.acquire(ref)).rejects.toMatchObject({ kind: "corrupt" });
    expect(cache.usage()).toEqual({ files: 0, bytes: 0, pinnedBytes: 0 });
    blob.add("late", content);
    using file = await cache.acquire(ref);
    expect(await readFile(file.path)).toEqual(content);
  });

  test("of a reference without a SHA-256 is corrupt", async () => {
    await using cache = await open(memoryBlob());
    await expect(cache.acquire({ name: "a", bytes: 1, digest: "MD5=abc" })).rejects.toMatchObject({ kind: "corrupt" });
  });
});

describe("adopt", () => {
  const stored = async (content: Uint8Array) => {
    const path = join(dir, "..", `stored-${randomBytes(8).toString("hex")}`);
    await writeFile(path, content);
    return path;
  };

  test("takes the file over, and downloads nothing", async () => {
    const blob = memoryBlob();
    await using cache = await open(blob);
    const content = randomBytes(100);
    const ref = blob.add("a", content);
    const path = await stored(content);
    expect(cache.adopt(ref, path)).toBe(true);
    expect(existsSync(path)).toBe(false);
    using file = await cache.acquire(ref);
    expect(await file.read()).toEqual(content);
    expect(blob.downloads).toEqual([]);
    expect(cache.usage()).toEqual({ files: 1, bytes: 100, pinnedBytes: 100 });
  });

  test("leaves the file where it is known, puts others out, or is gone", async () => {
    const blob = memoryBlob();
    await using cache = await open(blob, 150);
    const content = randomBytes(100);
    const ref = blob.add("a", content);
    (await cache.acquire(ref))[Symbol.dispose]();
    const known = await stored(content);
    expect(cache.adopt(ref, known)).toBe(false);
    await rm(known);
    const other = randomBytes(51);
    const tooMuch = await stored(other);
    expect(cache.adopt(blob.add("b", other), tooMuch)).toBe(false);
    await rm(tooMuch);
    expect(cache.adopt(blob.add("c", randomBytes(10)), tooMuch)).toBe(false);
    expect(cache.usage()).toMatchObject({ files: 1, bytes: 100 });
  });
});

describe("giving up", () => {
  test("by one of two leaves the download to the other", async () => {
    const blob = memoryBlob();
    const ref = blob.add("a", randomBytes(100));
    await using cache = await open(blob);
    const release = blob.hold();
    const stop = new AbortController();
    const first = cache.acquire(ref, stop.signal);
    const second = cache.acquire(ref);
    stop.abort();
    await expect(first).rejects.toMatchObject({ kind: "canceled" });
    release();
    using file = await second;
    expect(existsSync(file.path)).toBe(true);
    expect(cache.usage().pinnedBytes).toBe(100);
  });

  test("by all stops the download and frees the room; who comes just then gets the object all the same", async () => {
    const blob = memoryBlob();
    const ref = blob.add("a", randomBytes(900));
    await using cache = await open(blob);
    const release = blob.hold();
    const stop = new AbortController();
    const first = cache.acquire(ref, stop.signal);
    stop.abort();
    await expect(first).rejects.toMatchObject({ kind: "canceled" });
    const late = cache.acquire(ref);
    release();
    using file = await late;
    expect((await stat(file.path)).size).toBe(900);
    expect(cache.usage()).toEqual({ files: 1, bytes: 900, pinnedBytes: 900 });
  });

  test("by closing the cache stops everybody", async () => {
    const blob = memoryBlob();
    const cache = await open(blob);
    const release = blob.hold();
    const waiting = cache.acquire(blob.add("a", randomBytes(10)));
    const outcome = expect(waiting).rejects.toMatchObject({ kind: "canceled" });
    await settle();
    release();
    await cache[Symbol.asyncDispose]();
    await outcome;
  });
});

describe("a restart", () => {
  test("keeps the files, checks each when it is first asked for, and clears the rest away", async () => {
    const blob = memoryBlob();
    const fine = blob.add("fine", randomBytes(100));
    const flipped = blob.add("flipped", randomBytes(100));
    const short = blob.add("short", randomBytes(100));
    const paths: string[] = [];
    {
      await using cache = await open(blob);
      for (const ref of [fine, flipped, short]) {
        using file = await cache.acquire(ref);
        paths.push(file.path);
      }
    }
    const bytes = readFileSync(paths[1]!);
    bytes[50]! ^= 1;
    await writeFile(paths[1]!, bytes);
    await truncate(paths[2]!, 99);
    await writeFile(join(dir, "half.part"), "x");
    blob.downloads.length = 0;

    await using cache = await open(blob);
    expect(cache.usage()).toEqual({ files: 2, bytes: 200, pinnedBytes: 0 });
    for (const ref of [fine, flipped, short]) {
      using file = await cache.acquire(ref);
      const digest = createHash("sha256")
        .update(await readFile(file.path))
        .digest("base64url");
      expect(`SHA-256=${digest}=`).toBe(ref.digest);
    }
    expect(blob.downloads).toEqual(["flipped", "short"]);
    expect(await readdir(dir)).toHaveLength(3);
  });

  test("with less room evicts what is oldest", async () => {
    const blob = memoryBlob();
    const refs = ["a", "b", "c"].map((name) => blob.add(name, randomBytes(300)));
    {
      await using cache = await open(blob);
      for (const ref of refs) {
        (await cache.acquire(ref))[Symbol.dispose]();
        await settle();
      }
    }
    await using cache = await open(blob, 600);
    expect(cache.usage().bytes).toBe(600);
    for (const ref of refs.slice(1)) (await cache.acquire(ref))[Symbol.dispose]();
    expect(blob.downloads).toEqual(["a", "b", "c"]);
  });
});

test("a file that was truncated or removed under the cache is downloaded again", async () => {
  const blob = memoryBlob();
  const content = randomBytes(100);
  const ref = blob.add("a", content);
  await using cache = await open(blob);
  const { path } = await cache.acquire(ref);
  await truncate(path, 10);
  expect(await readFile((await cache.acquire(ref)).path)).toEqual(content);
  await rm(path);
  expect(await readFile((await cache.acquire(ref)).path)).toEqual(content);
  expect(blob.downloads).toEqual(["a", "a", "a"]);
});

type Command = { do: "acquire" | "acquireAndGiveUp" | "acquireTwice"; object: number } | { do: "release"; pin: number };

test("whatever is acquired, given up and released: never over the limit, pinned files are there and right", async () => {
  const object = fc.nat({ max: 7 });
  const command: fc.Arbitrary<Command> = fc.oneof(
    fc.record({ do: fc.constantFrom("acquire", "acquireAndGiveUp", "acquireTwice"), object }),
    fc.record({ do: fc.constant("release"), pin: fc.nat() }),
  );
  const sizes = fc.array(fc.integer({ min: 1, max: 600 }), { minLength: 8, maxLength: 8 });
  await fc.assert(
    fc.asyncProperty(sizes, fc.array(command, { maxLength: 40 }), async (bytes, commands) => {
      await rm(dir, { recursive: true, force: true });
      const blob = memoryBlob();
      const contents = bytes.map((size) => randomBytes(size));
      const refs = contents.map((content, i) => blob.add(`o${i}`, content));
      await using cache = await open(blob);
      const pins: { file: PinnedFile; object: number }[] = [];
      const tryAcquire = async (i: number, signal?: AbortSignal): Promise<void> => {
        try {
          pins.push({ file: await cache.acquire(refs[i]!, signal), object: i });
        } catch (error) {
          expect(["overloaded", "canceled"]).toContain((error as VdbError).kind);
        }
      };
      for (const step of commands) {
        if (step.do === "release") {
          const [pin] = pins.splice(step.pin % Math.max(1, pins.length), 1);
          pin?.file[Symbol.dispose]();
          pin?.file[Symbol.dispose]();
        } else {
          const stop = new AbortController();
          const attempts = [tryAcquire(step.object, stop.signal)];
          if (step.do === "acquireTwice") attempts.push(tryAcquire(step.object));
          if (step.do !== "acquire") stop.abort();
          await Promise.all(attempts);
        }
        const usage = cache.usage();
        expect(usage.bytes).toBeLessThanOrEqual(1_000);
        const held = new Set(pins.map((pin) => pin.object));
        expect(usage.pinnedBytes).toBe([...held].reduce((sum, i) => sum + bytes[i]!, 0));
        for (const pin of pins) expect(readFileSync(pin.file.path).equals(contents[pin.object]!)).toBe(true);
      }
    }),
    { numRuns: 60 },
  );
});
