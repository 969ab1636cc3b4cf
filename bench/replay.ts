/**
 * `node dist/bench/replay.js`: how fast a channel's next owner replays the log, by the shape of its contents. One process on
 * its own nats-server: rows are inserted, none is flushed, and the node is restarted.
 */
import { VdbClient } from "../client/client.ts";
import { ROLES } from "../runtime/actor.ts";
import { startTestCluster } from "../runtime/testing/cluster.ts";

interface Shape {
  name: string;
  dimension: number;
  rows: number;
  rowsAnInsert: number;
}

const SHAPES: Shape[] = [
  { name: "768-d, 500 rows an insert", dimension: 768, rows: 60_000, rowsAnInsert: 500 },
  { name: "128-d, 500 rows an insert", dimension: 128, rows: 200_000, rowsAnInsert: 500 },
  { name: "4-d, 2000 rows an insert", dimension: 4, rows: 1_000_000, rowsAnInsert: 2_000 },
  { name: "4-d, 1 row an insert", dimension: 4, rows: 20_000, rowsAnInsert: 1 },
];

/** Inserts at once; one if each must be a message of its own. */
const WRITERS = 4;

const SETTINGS = [
  "cluster.walChannels=1",
  "cluster.walBytesMax=2147483648",
  "streaming.replayBytesMax=4294967296",
  "streaming.growingBytesMax=8589934592",
  "streaming.sealRows=100000000",
  "streaming.sealBytes=4294967296",
];

interface Recovery {
  messages: number;
  rows: number;
  bytes: number;
  ms: number;
}

async function measure({ dimension, rows, rowsAnInsert }: Shape): Promise<Recovery> {
  await using cluster = await startTestCluster([ROLES], SETTINGS);
  const client = VdbClient.inProcess(cluster.nodes[0]!.bus);
  await client.createCollection({ collectionName: "c", dimension });
  let next = 0;
  const write = async () => {
    while (next < rows) {
      const first = next;
      next += rowsAnInsert;
      const data = Array.from({ length: rowsAnInsert }, (_, i) => ({
        id: first + i,
        vector: new Float32Array(dimension).fill(first + i),
      }));
      await client.insert({ collectionName: "c", data });
    }
  };
  await Promise.all(Array.from({ length: rowsAnInsert === 1 ? 1 : WRITERS }, write));
  await cluster.stopNode(cluster.nodes[0]!);
  const node = await cluster.startNode(ROLES);
  for (;;) {
    const [channel] = node.observe().streaming!.channels as { isOpen: boolean; recovery: Recovery }[];
    if (channel?.isOpen === true) return channel.recovery;
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
}

for (const shape of SHAPES) {
  const { messages, rows, bytes, ms } = await measure(shape);
  const perSecond = (count: number) => Math.round((count * 1000) / ms).toLocaleString("en");
  console.log(
    `${shape.name}: ${rows} rows, ${(bytes / 2 ** 20).toFixed(0)} MiB, ${messages} messages in ${ms} ms = ` +
      `${perSecond(rows)} rows/s, ${((bytes / 2 ** 20) * (1000 / ms)).toFixed(0)} MiB/s, ${perSecond(messages)} messages/s`,
  );
}
process.exit();
