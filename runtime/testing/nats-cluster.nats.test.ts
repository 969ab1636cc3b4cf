/** The harness itself: a member that is cut off is told from one that is dead, and comes back. */
import { jetstream, jetstreamManager } from "@nats-io/jetstream";
import { connect, type NatsConnection } from "nats";
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
  const seq = await published(outside, "2");

  cluster.mend(victim);
  await cluster.settled();
  // Healthy is what members say of their own copies: who leads, and where publishes go, the mended one may hear a little later.
  expect(await published(inside, "3")).toBe(seq + 1);
  await Promise.all([setUp, inside, outside].map((connection) => connection.close()));
});

/** Publishes until it is stored, once however often it is asked, and gives its sequence. */
async function published(connection: NatsConnection, text: string): Promise<number> {
  let seq: number | undefined;
  await expect
    .poll(async () => {
      const options = { timeout: 1_000, retries: 1, msgID: text };
      const ack = await jetstream(connection)
        .publish("numbers", text, options)
        .catch(() => null);
      seq = ack?.seq;
      return ack;
    })
    .not.toBeNull();
  return seq!;
}
