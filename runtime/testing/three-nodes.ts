/** Three nodes as the bus knows them, on one NATS server, with a prefix of their own in each test. */
import { nuid } from "nats";
import { afterEach, beforeEach } from "vitest";
import { Bus } from "../bus/bus.ts";
import { createNatsTransport } from "../bus/nats-transport.ts";
import type { Transport } from "../bus/port.ts";
import { createLogger } from "../logger.ts";
import { systemClock } from "../system-clock.ts";
import type { UsedNats } from "./use-nats.ts";

const logger = createLogger({ level: "silent" });

export interface ThreeNodes {
  readonly prefix: string;
  readonly transports: readonly Transport[];
  /** Those of the three nodes; what a test adds is closed with them. */
  readonly buses: Bus[];
}

export function useThreeNodes(nats: UsedNats, onEach: (nodes: ThreeNodes) => void): void {
  let transports: Transport[];
  let buses: Bus[];
  beforeEach(() => {
    const prefix = `t${nuid.next()}`;
    const { control, wal, bulk } = nats.connections;
    transports = [control, wal, bulk].map((nc) => createNatsTransport(nc, `_INBOX_${prefix}`, logger));
    buses = transports.map((transport) => new Bus({ transport, clock: systemClock, logger, prefix }));
    onEach({ prefix, transports, buses });
  });
  afterEach(async () => {
    for (const bus of buses) bus.close();
    await Promise.all(transports.map((transport) => transport.flush()));
  });
}
