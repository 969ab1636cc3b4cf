/** The client's connection to NATS, which outlives servers. */
import { connect, type NatsConnection } from "nats";
import { errorMessage, VdbError } from "../runtime/errors.ts";
import { serverList } from "../runtime/nats/connect.ts";
import type { ConnectOptions } from "./types.ts";

/** @throws VdbError unavailable */
export async function connectClient(options: ConnectOptions, inboxPrefix: string): Promise<NatsConnection> {
  const { servers, user, pass } = options;
  try {
    return await connect({
      servers: serverList(servers),
      name: "vdb-client",
      inboxPrefix,
      ...(user === undefined ? {} : { user }),
      ...(pass === undefined ? {} : { pass }),
      timeout: 5_000,
      // Calls have deadlines of their own; the connection may come back within them.
      maxReconnectAttempts: -1,
      reconnectTimeWait: 250,
      reconnectJitter: 100,
      // A server that hangs, or is cut off, is left for another after three of these; the stock setting takes minutes.
      pingInterval: 2_000,
      maxPingOut: 2,
      noAsyncTraces: true,
    });
  } catch (error) {
    throw new VdbError("unavailable", `cannot connect to NATS at ${String(servers)}: ${errorMessage(error)}`, {
      cause: error,
    });
  }
}
