import { createHash, randomBytes } from "node:crypto";
import { mkdtemp, open, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { jetstreamManager } from "@nats-io/jetstream";
import { Objm, setSha256Backend } from "@nats-io/obj";
import { type NatsConnection, nuid } from "nats";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { connectNats, type NatsConnections } from "../nats/connect.ts";
import { systemClock, systemRandom } from "../system-clock.ts";
import { startTestNats, TEST_REPLICAS, type TestNats } from "../testing/nats-server.ts";
import { describeBlobs } from "./blob-contract.ts";
import { readDirect } from "./direct-read.ts";
import { createNatsBlob, type NatsBlob } from "./nats-blob.ts";
import type { ObjectRef } from "./port.ts";

let server: TestNats;
let connections: NatsConnections;
let nc: NatsConnection;
let folder: string;
let prefix: string;
let bucket: string;
let blob: NatsBlob;

beforeAll(async () => {
  setSha256Backend("native");
  server = await startTestNats();
  connections = await connectNats({ servers: server.url, name: "blob-test" });
  nc = connections.bulk;
  folder = await mkdtemp(join(tmpdir(), "vdb-blob-"));
});

afterAll(async () => {
  await connections.close();
  await server[Symbol.asyncDispose]();
  await rm(folder, { recursive: true, force: true });
});

beforeEach(async () => {
  prefix = `t${nuid.next()}`;
  bucket = `${prefix}-objects`;
  blob = createNatsBlob(nc, { prefix, clock: systemClock, random: systemRandom });
  await blob.ensure({ replicas: TEST_REPLICAS });
});

function refOf(name: string, content: Uint8Array): ObjectRef {
  const digest = createHash("sha256").update(content).digest("base64url");
  return { name, bytes: content.length, digest: `SHA-256=${digest}=` };
}

/** Comparing buffers element by element is slow in expect. */
async function expectFile(path: string, content: Uint8Array): Promise<void> {
  expect(Buffer.compare(await readFile(path), content)).toBe(0);
}

/** The connection, but for one message: the one of that number (from 1) that comes in does not arrive. */
function losing(real: NatsConnection, lost: number): NatsConnection {
  let count = 0;
  const subscribe: NatsConnection["subscribe"] = (inbox, options) =>
    real.subscribe(inbox, {
      ...options,
      callback: (error, message) => {
        if (++count !== lost) options!.callback!(error, message);
      },
    });
  return Object.assign(Object.create(real) as NatsConnection, { subscribe });
}

const newPath = (): string => join(folder, nuid.next());

async function chunkMessages(): Promise<number> {
  const jsm = await jetstreamManager(nc);
  const info = await jsm.streams.info(`OBJ_${bucket}`, { subjects_filter: `$O.${bucket}.C.>` });
  return Object.values(info.state.subjects ?? {}).reduce((sum, count) => sum + count, 0);
}

describe("as any other", () => {
  describeBlobs(() => ({
    async open() {
      prefix = `t${nuid.next()}`;
      bucket = `${prefix}-objects`;
      const opened = createNatsBlob(nc, { prefix, clock: systemClock, random: systemRandom });
      await opened.ensure({ replicas: TEST_REPLICAS });
      return opened;
    },
    newPath,
    writeFile,
    readFile,
    async breakOffPut() {
      await nc.request(`$O.${bucket}.C.halfway`, new Uint8Array(1_000), { timeout: 5_000 });
    },
    /** The object's one chunk is replaced by another. */
    async damage() {
      const jsm = await jetstreamManager(nc);
      const chunk = (await jsm.streams.getMessage(`OBJ_${bucket}`, { seq: 1 }))!;
      const bytes = Buffer.from(chunk.data);
      bytes[1_000]! ^= 1;
      await jsm.streams.deleteMessage(`OBJ_${bucket}`, 1);
      await nc.request(chunk.subject, bytes, { timeout: 5_000 });
    },
  }));
});

describe("an object", () => {
  test("of 20 MB comes back as it was, to a file and to memory", async () => {
    const content = randomBytes(20_000_000);
    const source = newPath();
    await writeFile(source, content);
    const ref = await blob.putFile("segment/1/2.arrow", source);
    expect(ref).toEqual(refOf("segment/1/2.arrow", content));
    const path = newPath();
    await blob.getFile(ref, path);
    await expectFile(path, content);
    expect(Buffer.compare(await blob.get(ref), content)).toBe(0);
  });

  test("is readable by any client of object stores, and theirs by us", async () => {
    const ours = randomBytes(3_000_000);
    await blob.put("ours/a.arrow", [ours]);
    const store = await new Objm(nc).open(bucket);
    expect(Buffer.compare((await store.getBlob("ours/a.arrow"))!, ours)).toBe(0);

    const theirs = randomBytes(2_500_000);
    const info = await store.putBlob({ name: "theirs/b.bin" }, theirs);
    const ref = { name: "theirs/b.bin", bytes: info.size, digest: info.digest };
    expect(ref).toEqual(refOf("theirs/b.bin", theirs));
    const path = newPath();
    await blob.getFile(ref, path);
    await expectFile(path, theirs);
    const listed = await blob.list();
    expect(new Set(listed.map((object) => object.name))).toEqual(new Set(["ours/a.arrow", "theirs/b.bin"]));
  });
});

describe("beside the npm client's object store", () => {
  /** What a bucket holds, as it is stored. */
  async function messagesOf(bucket: string) {
    const jsm = await jetstreamManager(nc);
    const { state } = await jsm.streams.info(`OBJ_${bucket}`);
    const found = [];
    for (let seq = 1; seq <= state.last_seq; seq++) {
      const message = await jsm.streams.getMessage(`OBJ_${bucket}`, { seq });
      if (message !== null) found.push(message);
    }
    return found;
  }

  const CHUNK = 1 << 21;
  const KIB_128 = 1 << 17;

  test.each([0, 1, KIB_128, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 9 * CHUNK + 1])(
    "an object of %i bytes is read by the other, both ways, and lies in the stream the same",
    async (size) => {
      const content = randomBytes(size);
      const ref = await blob.put("d/o 1~.bin", [content]);
      const store = await new Objm(nc).open(bucket);
      expect(Buffer.compare((await store.getBlob("d/o 1~.bin"))!, content)).toBe(0);

      const theirs = await new Objm(nc).create(`${prefix}-theirs`);
      const put = { name: "d/o 1~.bin", options: { max_chunk_size: CHUNK } };
      await theirs.putBlob(put, content);
      const [ours, others] = [await messagesOf(bucket), await messagesOf(`${prefix}-theirs`)];
      const shape = (messages: typeof ours) =>
        messages.slice(0, -1).map(({ subject, data }) => [subject.split(".").slice(2, -1), data.length]);
      expect(shape(ours)).toEqual(shape(others));
      const [ourMeta, theirMeta] = [ours.at(-1)!, others.at(-1)!];
      expect(ourMeta.subject.split(".").slice(2)).toEqual(theirMeta.subject.split(".").slice(2));
      expect(ourMeta.header.get("Nats-Rollup")).toBe(theirMeta.header.get("Nats-Rollup"));
      const { nuid: ourId, mtime: ourTime, bucket: _ours, ...ourFields } = ourMeta.json<Record<string, unknown>>();
      const {
        nuid: theirId,
        mtime: _time,
        bucket: _theirs,
        ...theirFields
      } = theirMeta.json<Record<string, unknown>>();
      expect(ourFields).toMatchObject(theirFields);
      expect([typeof ourId, typeof ourTime]).toEqual([typeof theirId, "string"]);
      for (const { subject } of ours.slice(0, -1)) expect(subject.endsWith(`.${String(ourId)}`)).toBe(true);

      await store.putBlob({ name: "theirs", options: { max_chunk_size: KIB_128 } }, content);
      const path = newPath();
      await blob.getFile({ ...ref, name: "theirs" }, path);
      await expectFile(path, content);
      expect(Buffer.compare(await blob.get({ ...ref, name: "theirs" }), content)).toBe(0);
    },
  );

  test("an object in chunks of 7 MB is read", async () => {
    const content = randomBytes(20_000_000);
    const store = await new Objm(nc).open(bucket);
    await store.putBlob({ name: "o", options: { max_chunk_size: 7_000_000 } }, content);
    const path = newPath();
    await blob.getFile(refOf("o", content), path);
    await expectFile(path, content);
    expect(Buffer.compare(await blob.get(refOf("o", content)), content)).toBe(0);
  });
});

describe("a name", () => {
  test("that has the same content already counts as stored, and no chunk is stored twice", async () => {
    const content = randomBytes(2_000_000);
    const ref = await blob.put("o", [content]);
    const before = await chunkMessages();
    expect(await blob.put("o", [content])).toEqual(ref);
    expect(await chunkMessages()).toBe(before);
  });

  test("that several store at once is stored by one; the others agree or are refused, and leave nothing behind", async () => {
    const content = randomBytes(2_500_000);
    const other = randomBytes(2_500_000);
    const outcomes = await Promise.allSettled(
      [content, content, content, other].map((bytes) => blob.put("o", [bytes])),
    );
    const stored = outcomes.filter((outcome) => outcome.status === "fulfilled").map((outcome) => outcome.value.digest);
    const listed = await blob.list();
    expect(listed).toHaveLength(1);
    expect(new Set(stored)).toEqual(new Set([listed[0]!.digest]));
    expect(await chunkMessages()).toBe(2);
  });

  test("can be used again once its object was removed, and nothing of the first is left", async () => {
    await blob.put("o", [randomBytes(2_000_000)]);
    await blob.remove("o");
    await blob.remove("o");
    await blob.remove("never there");
    expect(await blob.list()).toEqual([]);
    const jsm = await jetstreamManager(nc);
    expect((await jsm.streams.info(`OBJ_${bucket}`)).state.messages).toBe(0);
    const content = randomBytes(10);
    const ref = await blob.put("o", [content]);
    expect(Buffer.compare(await blob.get(ref), content)).toBe(0);
  });

  test("whose earlier put broke off is stored in full by the next one, and the rest is collected", async () => {
    const content = randomBytes(3_000_000);
    // As a process killed in the middle of a put leaves it.
    await nc.request(`$O.${bucket}.C.halfway`, content.subarray(0, 1_000_000), { timeout: 5_000 });
    const ref = await blob.put("o", [content]);
    expect(await blob.removeOrphans(3_600_000)).toBe(0);
    expect(await blob.removeOrphans(0)).toBe(1);
    expect(await chunkMessages()).toBe(2);
    expect(Buffer.compare(await blob.get(ref), content)).toBe(0);
  });
});

test("a put whose source fails leaves nothing behind", async () => {
  async function* failing() {
    yield randomBytes(2_500_000);
    throw new Error("disk gone");
  }
  await expect(blob.put("o", failing())).rejects.toThrow("disk gone");
  expect(await blob.list()).toEqual([]);
  expect(await chunkMessages()).toBe(0);
});

test("list tells name, size, digest and the time of storing, over more objects than one request answers", async () => {
  const started = Date.now();
  const names = Array.from({ length: 1_100 }, (_, i) => `n/${String(i).padStart(4, "0")}`);
  for (let i = 0; i < names.length; i += 50) {
    await Promise.all(names.slice(i, i + 50).map((name) => blob.put(name, [Buffer.from(name)])));
  }
  await blob.remove("n/0007");
  const listed = await blob.list();
  expect(listed).toHaveLength(names.length - 1);
  expect(new Set(listed.map((object) => object.name))).toEqual(new Set(names.filter((name) => name !== "n/0007")));
  expect(listed[0]).toMatchObject(refOf(listed[0]!.name, Buffer.from(listed[0]!.name)));
  for (const { storedAt } of listed) {
    expect(storedAt).toBeGreaterThan(started - 60_000);
    expect(storedAt).toBeLessThan(Date.now() + 60_000);
  }
});

describe("a damaged object", () => {
  test("with a missing chunk is corrupt, and no file is left", async () => {
    const ref = await blob.put("o", [randomBytes(3_000_000)]);
    const jsm = await jetstreamManager(nc);
    await jsm.streams.deleteMessage(`OBJ_${bucket}`, 2);
    const path = newPath();
    await expect(blob.getFile(ref, path)).rejects.toMatchObject({ kind: "corrupt" });
    expect((await readdir(folder)).filter((name) => path.endsWith(name) || name.endsWith(".part"))).toEqual([]);
    await expect(blob.get(ref)).rejects.toThrow(/bytes, expected 3000000/);
  });

  test("with another chunk's bytes is corrupt", async () => {
    const content = randomBytes(3_000_000);
    const ref = await blob.put("o", [content]);
    const jsm = await jetstreamManager(nc);
    const last = await jsm.streams.getMessage(`OBJ_${bucket}`, { seq: 2 });
    const bytes = Buffer.from(last!.data);
    bytes[1_000]! ^= 1;
    await jsm.streams.deleteMessage(`OBJ_${bucket}`, 2);
    await nc.request(last!.subject, bytes, { timeout: 5_000 });
    await expect(blob.get(ref)).rejects.toThrow(/its digest is .*, expected/);
  });

  // A cluster would read another copy.
  test.skipIf(TEST_REPLICAS > 1)("on the server's disk is corrupt after a restart, its neighbour is not", async () => {
    const content = randomBytes(2_000_000);
    const ref = await blob.put("damaged", [content]);
    const neighbour = await blob.put("fine", [randomBytes(2_000_000)]);
    // In good order: after a crash the server drops all that follows the damage in the block, the neighbour too.
    await server.server.stop();
    await flipByte(server.dataDir, content.subarray(1_500_000, 1_500_064));
    await server.restart();
    await expect(blob.get(ref)).rejects.toMatchObject({ kind: "corrupt" });
    await blob.get(neighbour);
  });
});

test("reading and writing files go on over a kill of the server", async () => {
  const content = randomBytes(40_000_000);
  const source = newPath();
  await writeFile(source, content);
  const putting = blob.putFile("o", source);
  await new Promise((resolve) => setTimeout(resolve, 50));
  await server.restart();
  const ref = await putting;
  const path = newPath();
  const getting = blob.getFile(ref, path);
  await new Promise((resolve) => setTimeout(resolve, 50));
  await server.restart();
  await getting;
  await expectFile(path, content);
});

describe("a connection that is cut", () => {
  test("in the middle of a read costs nothing but time", async () => {
    const content = randomBytes(30_000_000);
    await blob.put("o", [content]);
    const [stream, subject] = [`OBJ_${bucket}`, `$O.${bucket}.C.>`];
    const hash = createHash("sha256");
    let isCut = false;
    for await (const { payload } of readDirect(nc, { stream, subject, messageBytes: 1 << 21 })) {
      hash.update(payload);
      // The rest of this page has come or is lost, the next one is on its way.
      if (!isCut) await nc.reconnect();
      isCut = true;
    }
    expect(hash.digest("hex")).toBe(createHash("sha256").update(content).digest("hex"));
  });

  test.each([1, 3, 5, 9])("and loses message %i of a read costs nothing but time", async (lost) => {
    const content = randomBytes(20_000_000);
    await blob.put("o", [content]);
    const [stream, subject] = [`OBJ_${bucket}`, `$O.${bucket}.C.>`];
    const chunks: Buffer[] = [];
    for await (const { payload } of readDirect(losing(nc, lost), { stream, subject, messageBytes: 1 << 21 })) {
      chunks.push(Buffer.from(payload));
    }
    expect(Buffer.compare(Buffer.concat(chunks), content)).toBe(0);
  });

  test("in the middle of a put leaves the object whole or nothing at all", async () => {
    const content = randomBytes(20_000_000);
    async function* cutHalfway() {
      yield content.subarray(0, 10_000_000);
      await nc.reconnect();
      yield content.subarray(10_000_000);
    }
    const [outcome] = await Promise.allSettled([blob.put("o", cutHalfway())]);
    if (outcome.status === "fulfilled") {
      expect(Buffer.compare(await blob.get(outcome.value), content)).toBe(0);
    } else {
      expect(outcome.reason).toMatchObject({ kind: "unavailable" });
      expect(await blob.list()).toEqual([]);
      await blob.removeOrphans(0);
      expect(await chunkMessages()).toBe(0);
    }
    const source = newPath();
    await writeFile(source, content);
    const ref = await blob.putFile("o", source);
    expect(Buffer.compare(await blob.get(ref), content)).toBe(0);
  });
});

test("a read stops when its signal does, and leaves no file", async () => {
  const ref = await blob.put("o", [randomBytes(30_000_000)]);
  const stop = new AbortController();
  const path = newPath();
  const getting = blob.getFile(ref, path, stop.signal);
  setTimeout(() => stop.abort(), 5);
  await expect(getting).rejects.toMatchObject({ kind: "canceled" });
  expect((await readdir(folder)).filter((name) => path.endsWith(name) || name.endsWith(".part"))).toEqual([]);
});

/** Flips one byte in whichever stored block holds the needle. */
async function flipByte(dataDir: string, needle: Uint8Array): Promise<void> {
  const names = await readdir(join(dataDir, "jetstream"), { recursive: true });
  for (const name of names.filter((name) => name.endsWith(".blk"))) {
    const path = join(dataDir, "jetstream", name);
    const at = (await readFile(path)).indexOf(needle);
    if (at < 0) continue;
    await using file = await open(path, "r+");
    await file.write(Buffer.from([needle[0]! ^ 0xff]), 0, 1, at);
    return;
  }
  throw new Error("the bytes to flip are in no block");
}
