/** The harness itself: a member that is cut off is told from one that is dead, and comes back. */
import { jetstream, jetstreamManager } from "@nats-io/jetstream";
import { connect } from "nats";
import { expect, test } from "vitest";
import { startNatsCluster } from "./nats-cluster.ts";

test("a member that is cut off still answers its clients, stores nothing, and has everything after the links are mended", async () => {
  await using cluster = await startNatsCluster({ canCut: true });
  const connectTo = (index: number) => connect({ servers: cluster.members[index]!.url, timeout: 20_000 });
  const setUp = await connectTo(0);
  const manager = await jetstreamManager(setUp, { timeout: 20_000 });
  await manager.streams.add({ name: "numbers", subjects: ["numbers"], num_replicas: 3 });
  const victim = await cluster.leaderOf("numbers");
  const other = (victim + 1) % 3;
  const [inside, outside] = await Promise.all([connectTo(victim), connectTo(other)]);
  await jetstream(inside).publish("numbers", "1");

  cluster.cut(victim);
  await inside.flush();
  await expect(jetstream(inside).publish("numbers", "lost", { timeout: 2_000, retries: 1 })).rejects.toThrow();
  let seq: number | undefined;
  await expect
    .poll(async () => {
      const ack = await jetstream(outside)
        .publish("numbers", "2", { timeout: 1_000, retries: 1, msgID: "second" })
        .catch(() => null);
      seq ??= ack?.seq;
      return ack;
    })
    .not.toBeNull();

  cluster.mend(victim);
  await cluster.settled();
  const ack = await jetstream(inside).publish("numbers", "3", { timeout: 20_000 });
  expect(ack.seq).toBe(seq! + 1);
  await Promise.all([setUp, inside, outside].map((connection) => connection.close()));
});
