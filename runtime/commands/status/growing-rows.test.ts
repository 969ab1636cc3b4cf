import { expect, test } from "vitest";
import type { Bus } from "../../bus/bus.ts";
import type { Catalog } from "../../meta/catalog.ts";
import { askGrowingRows } from "./growing-rows.ts";

const SHARDS = 100;

test("a node that hangs keeps no other node's answers back, and its shards are left out", async () => {
  const [hung, alive, nobody] = [0, 1, 2];
  const collection = (collectionId: number) => ({
    collectionId,
    shards: [hung, alive, nobody].map((pchannel) => ({ pchannel, vchannel: `${pchannel}-${collectionId}` })),
  });
  const collections = Array.from({ length: SHARDS }, (_, i) => collection(i));
  const owners = new Map([
    [hung, { nodeId: "hung" }],
    [alive, { nodeId: "alive" }],
  ]);
  const catalog = { collections: () => collections, channelOwner: (pchannel: number) => owners.get(pchannel) };
  let answered = 0;
  let passDeadline = (_: Error) => {};
  const deadline = new Promise<never>((_, reject) => {
    passDeadline = reject;
  });
  const ask = async (_: unknown, { nodeId }: { nodeId: string }, { collectionId }: { collectionId: number }) => {
    if (nodeId === "hung") return deadline;
    await Promise.resolve();
    if (++answered === SHARDS) passDeadline(new Error("deadline"));
    return { growingRows: collectionId, sealedRows: 7 };
  };
  const rows = await askGrowingRows(
    { ask } as unknown as Pick<Bus, "ask">,
    catalog as unknown as Pick<Catalog, "collections" | "channelOwner">,
    Number.POSITIVE_INFINITY,
  );
  expect(rows).toEqual(new Map(collections.map(({ collectionId: id }) => [`${alive}-${id}`, id])));
});
