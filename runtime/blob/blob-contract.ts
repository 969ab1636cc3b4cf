/** What every object store must do: the tests that an implementation of the port passes. */
import { createHash, randomBytes } from "node:crypto";
import { beforeEach, describe, expect, test } from "vitest";
import { formatDigest } from "./object-layout.ts";
import type { BlobPort, ObjectRef } from "./port.ts";

export interface BlobHarness {
  /** A store of its own that is empty. */
  open(): Promise<BlobPort>;
  /** Files where the store's files are: `path` is a new one. */
  newPath(): string;
  writeFile(path: string, bytes: Uint8Array): Promise<void>;
  readFile(path: string): Promise<Uint8Array>;
  /** Leaves in the store what a process leaves that is killed in the middle of a put. */
  breakOffPut(): Promise<void>;
  /** Changes a byte of an object as it is stored. */
  damage(name: string): Promise<void>;
}

export function describeBlobs(harness: () => BlobHarness): void {
  let blobs: BlobPort;
  beforeEach(async () => {
    blobs = await harness().open();
  });

  describe("an object", () => {
    test.each([0, 1, 1 << 20, (1 << 20) + 1])(
      "of %i bytes comes back as it was, to memory and to a file",
      async (size) => {
        const content = randomBytes(size);
        const ref = await blobs.put("a/o.bin", [content]);
        expect(ref).toEqual(refOf("a/o.bin", content));
        expectSame(await blobs.get(ref), content);
        const path = harness().newPath();
        await blobs.getFile(ref, path);
        expectSame(await harness().readFile(path), content);
      },
    );

    test("is stored from a file", async () => {
      const content = randomBytes(2_000_000);
      const path = harness().newPath();
      await harness().writeFile(path, content);
      expect(await blobs.putFile("o", path)).toEqual(refOf("o", content));
      expectSame(await blobs.get(refOf("o", content)), content);
    });

    test("is stored the same however its content is cut into pieces", async () => {
      const content = randomBytes(3_000_000);
      async function* pieces() {
        for (let at = 0; at < content.length; at += 777_777) yield content.subarray(at, at + 777_777);
      }
      const ref = await blobs.put("pieces", pieces());
      expect(ref).toEqual(refOf("pieces", content));
      expectSame(await blobs.get(ref), content);
    });

    test("is read into memory of its own, aligned for any typed array", async () => {
      const ref = await blobs.put("o", [new Uint8Array(new Float64Array([1, 2, 3]).buffer)]);
      const bytes = await blobs.get(ref);
      expect([...new Float64Array(bytes.buffer, bytes.byteOffset, 3)]).toEqual([1, 2, 3]);
      bytes.fill(0);
      expect((await blobs.get(ref))[7]).toBe(0x3f);
    });

    test("that is not there, or is not the one referred to, is corrupt", async () => {
      const ref = await blobs.put("o", [randomBytes(100)]);
      await expect(blobs.get({ ...ref, name: "other" })).rejects.toThrow(/does not exist/);
      await expect(blobs.get({ ...ref, digest: "SHA-256=AAAA" })).rejects.toMatchObject({ kind: "corrupt" });
      await expect(blobs.get({ ...ref, bytes: 99 })).rejects.toMatchObject({ kind: "corrupt" });
    });

    test("that is damaged is corrupt, and no file is left", async () => {
      const ref = await blobs.put("o", [randomBytes(3_000)]);
      await harness().damage("o");
      const path = harness().newPath();
      await expect(blobs.get(ref)).rejects.toMatchObject({ kind: "corrupt" });
      await expect(blobs.getFile(ref, path)).rejects.toMatchObject({ kind: "corrupt" });
      await expect(harness().readFile(path)).rejects.toThrow();
    });
  });

  describe("a name", () => {
    test("that has the same content already counts as stored", async () => {
      const content = randomBytes(2_000);
      const ref = await blobs.put("o", [content]);
      expect(await blobs.put("o", [content])).toEqual(ref);
      expect(await blobs.list()).toHaveLength(1);
    });

    test("that has other content is refused, and the object stays as it was", async () => {
      const content = randomBytes(1_000);
      const ref = await blobs.put("o", [content]);
      await expect(blobs.put("o", [randomBytes(1_000)])).rejects.toThrow(/exists already and is another one/);
      expectSame(await blobs.get(ref), content);
    });

    test("that several store at once is stored by one; the others agree or are refused", async () => {
      const [content, other] = [randomBytes(15_000), randomBytes(15_000)];
      const outcomes = await Promise.allSettled([content, content, other].map((bytes) => blobs.put("o", [bytes])));
      const stored = outcomes.flatMap((outcome) => (outcome.status === "fulfilled" ? [outcome.value.digest] : []));
      const [listed, ...more] = await blobs.list();
      expect(more).toEqual([]);
      expect(new Set(stored)).toEqual(new Set([listed!.digest]));
      expect(await blobs.removeOrphans(0)).toBe(0);
    });

    test("can be used again once its object was removed", async () => {
      await blobs.put("o", [randomBytes(2_000)]);
      await blobs.remove("o");
      await blobs.remove("o");
      await blobs.remove("never there");
      expect(await blobs.list()).toEqual([]);
      const content = randomBytes(10);
      expectSame(await blobs.get(await blobs.put("o", [content])), content);
    });
  });

  test("a put that breaks off leaves no object; what it leaves is collected, and only when it is old", async () => {
    const ref = await blobs.put("o", [randomBytes(2_000)]);
    await harness().breakOffPut();
    expect(await blobs.list()).toHaveLength(1);
    expect(await blobs.removeOrphans(3_600_000)).toBe(0);
    expect(await blobs.removeOrphans(0)).toBe(1);
    expect(await blobs.removeOrphans(0)).toBe(0);
    await blobs.get(ref);
  });

  test("a put whose source fails fails with it, and leaves nothing", async () => {
    async function* failing() {
      yield randomBytes(2_500);
      throw new Error("disk gone");
    }
    await expect(blobs.put("o", failing())).rejects.toThrow("disk gone");
    expect(await blobs.list()).toEqual([]);
    expect(await blobs.removeOrphans(0)).toBe(0);
  });

  test("list tells name, size, digest and the time of storing", async () => {
    const content = randomBytes(300);
    await blobs.put("a", [content]);
    await blobs.put("b/c", []);
    const listed = (await blobs.list()).sort((x, y) => (x.name < y.name ? -1 : 1));
    expect(listed.map(({ name, bytes, digest }) => ({ name, bytes, digest }))).toEqual([
      refOf("a", content),
      refOf("b/c", new Uint8Array(0)),
    ]);
    expect(listed[1]!.storedAt).toBeGreaterThanOrEqual(listed[0]!.storedAt);
  });
}

function refOf(name: string, content: Uint8Array): ObjectRef {
  return { name, bytes: content.length, digest: formatDigest(createHash("sha256").update(content).digest()) };
}

/** Comparing buffers element by element is slow in expect. */
function expectSame(found: Uint8Array, expected: Uint8Array): void {
  expect(found.length).toBe(expected.length);
  expect(Buffer.compare(found, expected)).toBe(0);
}
