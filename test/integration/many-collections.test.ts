/** Many small collections: one that nobody uses costs memory for its documents, and nothing that runs. */
import { expect, test } from "vitest";
import { VdbClient } from "../../client/client.ts";
import { ROLES } from "../../runtime/actor.ts";
import { startTestCluster } from "../../runtime/testing/cluster.ts";

const COLLECTIONS = 100;
const AT_ONCE = 10;

test("a loaded collection without traffic has no timer and no connection of its own, in any role", async () => {
  await using cluster = await startTestCluster([[...ROLES]]);
  const client = VdbClient.inProcess(cluster.nodes[0]!.bus);
  const make = async (first: number, step: number) => {
    for (let i = first; i < COLLECTIONS; i += step) {
      await client.createCollection({ collectionName: `c${i}`, dimension: 4 });
    }
  };
  // What comes with the first one (a channel's owner, a reader of deletes) comes once.
  await client.createCollection({ collectionName: "first", dimension: 4 });
  await client.insert({ collectionName: "first", data: [{ id: 1, vector: [1, 2, 3, 4] }] });
  await client.waitUntilLoaded({ collectionName: "first" });
  const before = running();
  await Promise.all(Array.from({ length: AT_ONCE }, (_, first) => make(first, AT_ONCE)));
  await client.waitUntilLoaded({ collectionName: `c${COLLECTIONS - 1}` });
  // Requests that have just been answered leave timers for a moment.
  await expect.poll(running).toBeLessThan(before + COLLECTIONS / 4);
});

function running(): number {
  return process.getActiveResourcesInfo().length;
}
