/** Rows that are in no segment's object yet: the meta store does not know them, the owners of their log channels do. */
import type { Bus } from "../../bus/bus.ts";
import type { Catalog } from "../../meta/catalog.ts";
import { shardStats } from "../../protocol/streaming.ts";
import { Slots } from "../../slots.ts";

/** Of each node, so that one that hangs keeps no other's answer back. */
const ASKS_AT_ONCE = 32;

/**
 * By vchannel, of all collections, loaded or not. A shard whose owner has not answered by the deadline (monotonic) is left out.
 */
export async function askGrowingRows(
  bus: Pick<Bus, "ask">,
  catalog: Pick<Catalog, "collections" | "channelOwner">,
  deadline: number,
): Promise<Map<string, number>> {
  const rows = new Map<string, number>();
  const slotsOf = new Map<string, Slots>();
  const askFor = async (collectionId: number, vchannel: string, nodeId: string) => {
    const slots = slotsOf.get(nodeId) ?? new Slots(ASKS_AT_ONCE);
    slotsOf.set(nodeId, slots);
    const ask = () => bus.ask(shardStats, { nodeId }, { collectionId, vchannel }, { deadline });
    const stats = await slots.run(ask).catch(() => null);
    if (stats !== null) rows.set(vchannel, stats.growingRows);
  };
  await Promise.all(
    catalog.collections().flatMap(({ collectionId, shards }) =>
      shards.map(({ vchannel, pchannel }) => {
        const nodeId = catalog.channelOwner(pchannel)?.nodeId;
        return nodeId === undefined ? undefined : askFor(collectionId, vchannel, nodeId);
      }),
    ),
  );
  return rows;
}
