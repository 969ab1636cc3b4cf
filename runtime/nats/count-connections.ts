/** Counts events of a node's connections to NATS, for metrics. */
import type { NatsConnection } from "nats";
import { type Figures, samplesBy } from "../metrics/metrics.ts";
import type { NatsConnections } from "./connect.ts";
import { isConnected } from "./keep-alive.ts";

/** Counts reconnects from now on, until the connections are closed. */
export function countConnections({ close: _, ...connections }: NatsConnections): () => Figures {
  const all = Object.entries(connections).map(([purpose, connection]) => {
    const counted = { purpose, connection, reconnects: 0 };
    void follow(connection, () => counted.reconnects++);
    return counted;
  });
  const samples = (read: (one: (typeof all)[number]) => number) =>
    samplesBy(
      "connection",
      all.map((one) => [one.purpose, read(one)]),
    );
  return () => ({
    vdb_nats_connected: samples(({ connection }) => Number(isConnected(connection))),
    vdb_nats_reconnects_total: samples(({ reconnects }) => reconnects),
    vdb_nats_sent_bytes_total: samples(({ connection }) => connection.stats().outBytes),
    vdb_nats_received_bytes_total: samples(({ connection }) => connection.stats().inBytes),
  });
}

async function follow(connection: NatsConnection, onReconnect: () => void): Promise<void> {
  for await (const { type } of connection.status()) if (type === "reconnect") onReconnect();
}
