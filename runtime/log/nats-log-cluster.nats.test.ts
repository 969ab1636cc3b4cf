/** Log and meta store on a NATS cluster, asked of a member that has lost the others. */
import { jetstreamManager } from "@nats-io/jetstream";
import { nanos } from "nats";
import { expect, test } from "vitest";
import { createNatsMeta } from "../meta/nats-meta.ts";
import { connectNats } from "../nats/connect.ts";
import { tailStream } from "../nats/stream-tail.ts";
import { systemClock, systemRandom } from "../system-clock.ts";
import { startNatsCluster } from "../testing/nats-cluster.ts";
import { createNatsLog } from "./nats-log.ts";

test("a leader that is cut off is not asked who owns a channel: the others may have elected another", async () => {
  await using cluster = await startNatsCluster();
  const everywhere = await connectNats({ servers: cluster.servers, name: "test" });
  const options = { prefix: "cut", replicas: 3, maxBytes: 64 << 20 } as const;
  await createNatsLog(everywhere, options).ensureChannels(1);
  const leader = await cluster.leaderOf("cut-wal-0");
  // Its consumers can be on another member than the one that it is connected to, and die with that.
  const tail = await tailStream(everywhere.bulk, {
    ...{ stream: "cut-wal-0", filterSubjects: [], start: { bySeq: 1 }, handler: () => undefined },
  });
  const { consumers } = await jetstreamManager(everywhere.control, { timeout: 20_000 });
  const heartbeats = async () => (await consumers.list("cut-wal-0").next()).map(({ config }) => config.idle_heartbeat);
  await expect.poll(heartbeats).toEqual([nanos(1_000)]);
  await tail[Symbol.asyncDispose]();
  await everywhere.close();

  const connections = await connectNats({ servers: cluster.members[leader]!.url, name: "test" });
  const log = createNatsLog(connections, options);
  await expect.poll(() => log.append(0, "ins", "a", new Uint8Array(10), {}, 5_000)).toMatchObject({ kind: "stored" });
  // On a busy machine it may have heard of no other for a while, and says so.
  await expect.poll(() => log.readLast(0, "ins").catch(String)).toMatchObject({ messageId: "a" });
  for (let i = 0; i < 3; i++) if (i !== leader) cluster.freeze(i);
  const whatItSays = () =>
    log.readLast(0, "ins").then(
      () => "owner",
      (error: Error) => error.message,
    );
  await expect.poll(whatItSays, { interval: 250 }).toMatch(/cannot say who owns it/);
  for (let i = 0; i < 3; i++) if (i !== leader) cluster.thaw(i);
  await expect.poll(whatItSays, { interval: 250 }).toBe("owner");
  await connections.close();
});

test("a member that is cut off is not believed how far log and meta store are", async () => {
  await using cluster = await startNatsCluster({ canCut: true });
  const options = { prefix: "cut", replicas: 3, maxBytes: 64 << 20 } as const;
  const world = { prefix: "cut", clock: systemClock, random: systemRandom };
  const everywhere = await connectNats({ servers: cluster.servers, name: "test" });
  await createNatsLog(everywhere, options).ensureChannels(1);
  await createNatsMeta(everywhere.control, world).ensure({ replicas: 3 });
  const [log, meta] = ["cut-wal-0", "KV_cut-meta"] as const;
  const leaders = [await cluster.leaderOf(log), await cluster.leaderOf(meta)];
  const victim = [0, 1, 2].find((member) => !leaders.includes(member))!;
  const inside = await connectNats({ servers: cluster.members[victim]!.url, name: "inside" });
  const outside = await connectNats({ servers: cluster.members[leaders[0]!]!.url, name: "outside" });

  cluster.cut(victim);
  const logInside = createNatsLog(inside, options);
  const manager = await jetstreamManager(inside.control, { checkAPI: false, timeout: 2_000 });
  for (const stream of [log, meta]) {
    const knownLeader = () => manager.streams.info(stream).then((info) => info.cluster?.leader, String);
    await expect.poll(knownLeader).toBeUndefined();
  }
  const append = () => createNatsLog(outside, options).append(0, "ins", "a", new Uint8Array(10), {}, 5_000);
  await expect.poll(append).toMatchObject({ kind: "stored" });
  let said: unknown;
  do {
    said = await logInside.bounds(0).catch((error: Error) => error.message);
    // A member that is too busy to answer in time has said nothing.
  } while (/timeout/i.test(String(said)));
  expect(said).toMatch(/knows of no leader/);
  await expect(logInside.readLast(0, "ins")).rejects.toMatchObject({ kind: "unavailable" });
  await expect(createNatsMeta(inside.control, world).lastRevision()).rejects.toMatchObject({ kind: "unavailable" });

  cluster.mend(victim);
  await cluster.settled();
  await expect.poll(() => logInside.bounds(0).catch(String)).toEqual({ firstSeq: 1, lastSeq: 1 });
  await Promise.all([everywhere, inside, outside].map((connections) => connections.close()));
});
