import { expect, test } from "vitest";
import { createLogger } from "../logger.ts";
import { createNatsMeta } from "../meta/nats-meta.ts";
import { systemClock, systemRandom } from "../system-clock.ts";
import { startNatsCluster } from "../testing/nats-cluster.ts";
import { connectNats } from "./connect.ts";
import { leaveCutOffServers } from "./leave-cut-off.ts";

test("connections to a member that is cut off move to the others", async () => {
  await using cluster = await startNatsCluster({ canCut: true });
  const connections = await connectNats({ servers: cluster.servers, name: "test" });
  const meta = createNatsMeta(connections.control, { prefix: "vdb", clock: systemClock, random: systemRandom });
  await meta.ensure({ replicas: 3 });
  const places = () =>
    [connections.control, connections.requests, connections.wal, connections.bulk].map((connection) =>
      cluster.members.findIndex(({ url }) => url.endsWith(connection.getServer().split(":").at(-1)!)),
    );
  const moves: string[] = [];
  for (const connection of [connections.control, connections.requests, connections.wal, connections.bulk]) {
    void (async () => {
      for await (const status of connection.status()) if (status.type === "reconnect") moves.push(status.server);
    })();
  }
  const over = new AbortController();
  const logger = createLogger({ level: "silent" });
  const options = { stream: "KV_vdb-meta", clock: systemClock, logger, signal: over.signal };
  const leaving = leaveCutOffServers(connections, options);

  const victim = places()[0]!;
  cluster.cut(victim);
  await expect.poll(places, { timeout: 90_000 }).not.toContain(victim);
  // None came back to it on the way.
  const isVictim = (server: string) => cluster.members[victim]!.url.endsWith(server.split(":").at(-1)!);
  expect(moves.filter(isVictim)).toEqual([]);
  const key = "cluster";
  await expect(meta.commit([{ op: "put", key, value: new Uint8Array(1), revision: 0 }])).resolves.toBeGreaterThan(0);

  over.abort();
  await leaving;
  await connections.close();
});
