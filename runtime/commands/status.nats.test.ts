/** What status says of rows that no segment has yet, asked of a real cluster. */
import { expect, onTestFinished, test } from "vitest";
import { VdbClient } from "../../client/client.ts";
import { loadConfig } from "../config/load.ts";
import { startTestCluster } from "../testing/cluster.ts";
import { collectStatus } from "./status/collect.ts";
import { renderStatus } from "./status.ts";

test("rows count as soon as they are written, loaded or not, also when nobody can tell how many still grow", async () => {
  await using cluster = await startTestCluster([["proxy", "coordinator", "query", "data"], ["streaming"]]);
  const { config } = loadConfig({ flags: [`nats.servers=${cluster.nats.url}`] });
  const client = await VdbClient.connect({ servers: cluster.nats.url, timeoutMs: 30_000 });
  onTestFinished(() => client.close());
  const data = [1, 2, 3].map((id) => ({ id, vector: [id, 0] }));
  for (const collectionName of ["loaded", "released"]) {
    await client.createCollection({ collectionName, dimension: 2 });
    if (collectionName === "released") await client.releaseCollection({ collectionName });
    await client.insert({ collectionName, data });
  }
  const rows = async () =>
    Object.fromEntries(
      (await collectStatus(config)).collections.map((one) => [one.name, [one.rowsInSegments, one.growingRows]]),
    );
  await expect.poll(rows).toEqual({ loaded: [0, 3], released: [0, 3] });
  expect(renderStatus(await collectStatus(config))).toMatch(/^loaded +\d+ +\w+ +3 +3 /m);

  await client.flush({ collectionName: "loaded" });
  await expect.poll(rows).toEqual({ loaded: [3, 0], released: [0, 3] });

  await cluster.stopNode(cluster.nodes[1]!);
  expect(await rows()).toEqual({ loaded: [3, null], released: [0, null] });
  expect(renderStatus(await collectStatus(config))).toMatch(/^loaded +\d+ +\w+ +3 +- /m);
});
