import { createHash, randomBytes } from "node:crypto";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { measureContent, passOn, withFile, withPieces } from "./content.ts";
import { startDigest } from "./digest.ts";
import { receive } from "./get-object.ts";
import { formatDigest } from "./object-layout.ts";

const CHUNK = 1 << 20;
/** What one transfer may hold: 8 MiB in buffers. */
const BUFFERS = 8;

const digestOf = (bytes: Uint8Array): string => formatDigest(createHash("sha256").update(bytes).digest());

/** Work that goes on until it is released, as on a disk or a server that is stuck. */
function stuck(): { work: () => Promise<void>; started: () => number; release: (error?: Error) => void } {
  let count = 0;
  let release = (_error?: Error): void => undefined;
  const released = new Promise<void>((resolve, reject) => {
    release = (error) => (error === undefined ? resolve() : reject(error));
  });
  const work = (): Promise<void> => {
    count++;
    return released;
  };
  return { work, started: () => count, release };
}

/** Everything that can happen by itself has happened: what goes on then waits for somebody. */
async function idle(progress: () => number): Promise<number> {
  for (let before = -1; before !== progress(); ) {
    before = progress();
    for (let i = 0; i < 50; i++) await new Promise((resolve) => setImmediate(resolve));
  }
  return progress();
}

describe("content on its way in", () => {
  test.each([0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK, 12 * CHUNK + 7])(
    "of %i bytes is cut and measured",
    async (size) => {
      const content = randomBytes(size);
      const passed: Buffer[] = [];
      async function* pieces() {
        for (let at = 0; at < size; at += 700_001) yield content.subarray(at, at + 700_001);
      }
      const facts = await withPieces(pieces(), (fill) =>
        passOn(fill, CHUNK, async (chunk) => {
          passed.push(Buffer.from(chunk));
        }),
      );
      expect(facts).toEqual({ size, chunks: Math.ceil(size / CHUNK), digest: digestOf(content) });
      expect(Buffer.compare(Buffer.concat(passed), content)).toBe(0);
      expect(passed.slice(0, -1).every((chunk) => chunk.length === CHUNK)).toBe(true);
    },
  );

  test("is the same from a file", async () => {
    const folder = await mkdtemp(join(tmpdir(), "vdb-content-"));
    try {
      const content = randomBytes(2_500_000);
      await writeFile(join(folder, "f"), content);
      const facts = await withFile(join(folder, "f"), measureContent);
      expect(facts).toMatchObject({ size: content.length, digest: digestOf(content) });
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  });

  test("waits for a server that is stuck, with no more than its buffers full", async () => {
    const { work, started, release } = stuck();
    let produced = 0;
    function* pieces() {
      for (; produced < 40; produced++) yield new Uint8Array(CHUNK);
    }
    const passing = withPieces(pieces(), (fill) => passOn(fill, CHUNK, work));
    expect(await idle(() => produced)).toBeLessThanOrEqual(BUFFERS + 1);
    expect(started()).toBe(BUFFERS);
    release();
    expect(await passing).toMatchObject({ chunks: 40 });
  });

  test("whose passing on fails fails with it, and its source is told", async () => {
    const { work, release } = stuck();
    let isClosed = false;
    function* pieces() {
      try {
        for (;;) yield new Uint8Array(CHUNK);
      } finally {
        isClosed = true;
      }
    }
    release(new Error("refused"));
    await expect(withPieces(pieces(), (fill) => passOn(fill, CHUNK, work))).rejects.toThrow("refused");
    expect(isClosed).toBe(true);
  });
});

describe("content on its way out", () => {
  async function* chunks(count: number, bytes: number, onTaken: () => void) {
    for (let i = 0; i < count; i++) {
      onTaken();
      yield { payload: new Uint8Array(bytes).fill(i) };
    }
  }

  test.each([CHUNK, 8 * CHUNK])(
    "waits for a disk that is stuck, with no more than its buffers full, in chunks of %i",
    async (bytes) => {
      const { work, started, release } = stuck();
      let taken = 0;
      const count = (40 * CHUNK) / bytes;
      const received = receive(
        chunks(count, bytes, () => taken++),
        40 * CHUNK,
        work,
      );
      expect(await idle(() => taken)).toBeLessThanOrEqual((BUFFERS * CHUNK) / bytes + 1);
      expect(started()).toBe((BUFFERS * CHUNK) / bytes);
      release();
      expect(await received).toMatchObject({ size: 40 * CHUNK });
    },
  );

  test("fails as the disk does, once nothing is under way any more", async () => {
    const { work, release } = stuck();
    const failing = receive(
      chunks(40, CHUNK, () => undefined),
      40 * CHUNK,
      work,
    );
    release(new Error("disk full"));
    await expect(failing).rejects.toThrow("disk full");
  });
});

test("several digests at once do not mix, and one that is given up disturbs none", async () => {
  const contents = Array.from({ length: 3 }, () =>
    new Uint8Array(new SharedArrayBuffer(300_000)).fill(Math.random() * 256),
  );
  const digests = contents.map(() => startDigest(Number.POSITIVE_INFINITY));
  const given = startDigest(Number.POSITIVE_INFINITY);
  const updates: Promise<void>[] = [];
  for (let at = 0; at < 300_000; at += 100_000) {
    for (const [i, digest] of digests.entries()) updates.push(digest.update(contents[i]!.subarray(at, at + 100_000)));
    updates.push(given.update(contents[0]!));
  }
  await Promise.all(updates);
  given.abandon();
  expect(await Promise.all(digests.map((digest) => digest.finish()))).toEqual(contents.map(digestOf));
});
