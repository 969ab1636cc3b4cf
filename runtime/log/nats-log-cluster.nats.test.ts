/** The log on a NATS cluster whose leader has lost the others, and does not know it yet. */
import { expect, test } from "vitest";
import { connectNats } from "../nats/connect.ts";
import { startNatsCluster } from "../testing/nats-cluster.ts";
import { createNatsLog } from "./nats-log.ts";

test("a leader that is cut off is not asked who owns a channel: the others may have elected another", async () => {
  await using cluster = await startNatsCluster();
  const everywhere = await connectNats({ servers: cluster.servers, name: "test" });
  const options = { prefix: "cut", replicas: 3, maxBytes: 64 << 20 } as const;
  await createNatsLog(everywhere, options).ensureChannels(1);
  const leader = await cluster.leaderOf("cut-wal-0");
  await everywhere.close();

  const connections = await connectNats({ servers: cluster.members[leader]!.url, name: "test" });
  const log = createNatsLog(connections, options);
  expect(await log.append(0, "ins", "a", new Uint8Array(10), {}, 5_000)).toMatchObject({ kind: "stored" });
  expect(await log.readLast(0, "ins")).toMatchObject({ messageId: "a" });
  for (let i = 0; i < 3; i++) if (i !== leader) cluster.freeze(i);
  const whatItSays = () =>
    log.readLast(0, "ins").then(
      () => "owner",
      (error: Error) => error.message,
    );
  await expect.poll(whatItSays, { timeout: 30_000, interval: 250 }).toMatch(/cannot say who owns it/);
  for (let i = 0; i < 3; i++) if (i !== leader) cluster.thaw(i);
  await expect.poll(whatItSays, { timeout: 30_000, interval: 250 }).toBe("owner");
  await connections.close();
});
