/** How many copies NATS keeps of the stores: made as asked, raised while they are used, never lowered. */
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { jetstreamManager } from "@nats-io/jetstream";
import { afterAll, beforeAll, expect, test } from "vitest";
import { createNatsBlob } from "../blob/nats-blob.ts";
import { createNatsLog } from "../log/nats-log.ts";
import { connectNats, type NatsConnections } from "../nats/connect.ts";
import { systemClock, systemRandom } from "../system-clock.ts";
import { type NatsCluster, startNatsCluster } from "../testing/nats-cluster.ts";
import { startTestNats } from "../testing/nats-server.ts";
import { createNatsLeases } from "./nats-lease.ts";
import { createNatsMeta } from "./nats-meta.ts";

const STREAMS = ["KV_r-meta", "KV_r-lease", "OBJ_r-objects", "r-wal-0"];

/** As in nats.conf: streams are changed by administrators alone. */
const USERS = `authorization { users: [
  { user: admin, password: a }
  { user: node, password: n, permissions { publish { deny: ["$JS.API.STREAM.UPDATE.>"] } } }
] }`;

let cluster: NatsCluster;
let admin: NatsConnections;
let node: NatsConnections;
beforeAll(async () => {
  cluster = await startNatsCluster({ config: USERS });
  admin = await connectNats({ servers: cluster.servers, name: "admin", user: "admin", pass: "a" });
  node = await connectNats({ servers: cluster.servers, name: "node", user: "node", pass: "n" });
});
afterAll(async () => {
  await admin?.close();
  await node?.close();
  await cluster?.[Symbol.asyncDispose]();
});

function storesOf(connections: NatsConnections, prefix = "r") {
  const common = { prefix, clock: systemClock, random: systemRandom };
  const meta = createNatsMeta(connections.control, common);
  const leases = createNatsLeases(connections.control, common);
  const blobs = createNatsBlob(connections.bulk, common);
  const logWith = (replicas: 1 | 3) => createNatsLog(connections, { prefix, replicas, maxBytes: 64 << 20 });
  const ensure = async (replicas: 1 | 3) => {
    for (const store of [meta, leases, blobs]) await store.ensure({ replicas });
    await logWith(replicas).ensureChannels(1);
  };
  return { meta, blobs, log: logWith(1), ensure };
}

/**
 * Resolves when so many members hold the stream, all of them up to date, by the word of its leader. Members say that they are
 * healthy before that while they have not heard of the stream, and those that are asked while they are busy do not answer.
 */
async function hasCopies(stream: string, count: number): Promise<void> {
  await expect.poll(() => cluster.copiesOf(stream), { message: stream }).toEqual({ configured: count, held: count });
  const { streams } = await jetstreamManager(admin.control, { checkAPI: false, timeout: 2_000 });
  const current = () =>
    streams.info(stream).then(({ cluster: group }) => {
      const others = (group?.replicas ?? []).filter(({ current, offline }) => current && offline !== true);
      return group?.leader === undefined ? 0 : 1 + others.length;
    }, String);
  await expect.poll(current, { message: stream }).toBe(count);
}

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);

test("one copy becomes three while the stores are used, and then each member may be away", async () => {
  const { meta, blobs, log, ensure } = storesOf(admin);
  await ensure(1);
  for (const stream of STREAMS) await hasCopies(stream, 1);
  const content = Buffer.alloc(3_000_000, "object");
  const ref = await blobs.put("object", [content]);
  await expect.poll(() => log.append(0, "ins", "a", bytes("a"), {}, 5_000)).toMatchObject({ kind: "stored" });

  let commits = 0;
  let isRaised: boolean = false;
  const writing = (async () => {
    for (let revision = 0; !isRaised; commits++) {
      revision = (await meta.commit([{ op: "put", key: "k", value: bytes(`${commits}`), revision }]))!;
    }
  })();
  await ensure(3);
  await cluster.settled();
  isRaised = true;
  await writing;
  for (const stream of STREAMS) {
    await hasCopies(stream, 3);
    // What it held when it was alone is with the others too.
    const leader = await cluster.leaderOf(stream);
    await cluster.stop(leader);
    await cluster.leaderOf(stream);
    const readers: Record<string, () => Promise<unknown>> = {
      "KV_r-meta": async () => Buffer.from((await meta.get("k"))!.value).equals(bytes(`${commits - 1}`)),
      "OBJ_r-objects": async () => Buffer.from(await blobs.get(ref)).equals(content),
      "r-wal-0": async () => (await log.readAt(0, 1))?.messageId === "a",
    };
    // The connection may have been to the member that went, and a request on its way is lost then.
    const isThere = () => readers[stream]?.().catch(String) ?? true;
    await expect.poll(isThere, { message: stream }).toBe(true);
    await cluster.start(leader);
    await cluster.settled();
  }
  await ensure(3);
});

test("a member that has lost its disk comes back empty under its name, and is filled by the others", async () => {
  const { meta, blobs, log, ensure } = storesOf(admin, "lost");
  await ensure(3);
  const content = Buffer.alloc(3_000_000, "object");
  const ref = await blobs.put("object", [content]);
  await expect.poll(() => log.append(0, "ins", "a", bytes("a"), {}, 5_000)).toMatchObject({ kind: "stored" });
  await meta.commit([{ op: "put", key: "k", value: bytes("v"), revision: 0 }]);
  // In the end nobody is left who had it from the beginning.
  for (let i = 0; i < 3; i++) {
    for (const stream of STREAMS) await hasCopies(stream.replace("r-", "lost-"), 3);
    await cluster.stop(i);
    await rm(join(cluster.members[i]!.dataDir, "jetstream"), { recursive: true });
    await cluster.start(i);
    await cluster.settled();
  }
  // Read until answered: the connection may have been to the member that went last.
  await expect.poll(() => meta.get("k").then((entry) => entry?.value, String)).toEqual(bytes("v"));
  await expect.poll(() => blobs.get(ref).then((read) => Buffer.from(read).equals(content), String)).toBe(true);
  await expect.poll(() => log.readAt(0, 1).then((message) => message?.messageId, String)).toBe("a");
});

test("a setting below what is there is refused: somebody has decided on the copies", async () => {
  const { ensure } = storesOf(admin, "low");
  await ensure(3);
  await expect(ensure(1)).rejects.toThrow(
    "stream KV_low-meta has 3 replicas, cluster.replicas is 1: set that to 3 on every node, or first give the copies up: nats stream edit KV_low-meta --replicas=1",
  );
});

test("a node that may not change streams says what an administrator has to do", async () => {
  await storesOf(admin, "may").ensure(1);
  await expect(storesOf(node, "may").ensure(3)).rejects.toMatchObject({
    kind: "not_permitted",
    message: expect.stringContaining("as an administrator: nats stream edit KV_may-meta --replicas=3"),
  });
});

test("a server that runs alone takes no replicas", async () => {
  await using alone = await startTestNats();
  const connections = await connectNats({ servers: alone.url, name: "alone" });
  const { ensure } = storesOf(connections);
  await expect(ensure(3)).rejects.toThrow(
    "cluster.replicas is 3, but this nats-server runs alone: it takes a NATS cluster of 3 or more",
  );
  await ensure(1);
  await expect(ensure(3)).rejects.toThrow("this nats-server runs alone");
  await connections.close();
});
