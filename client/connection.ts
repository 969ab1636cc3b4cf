/** The client's connection to NATS, which outlives servers. */
import { connect, type NatsConnection } from "nats";
import { errorMessage, VdbError } from "../runtime/errors.ts";
import { LASTING, serverList } from "../runtime/nats/connect.ts";
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
      ...LASTING,
    });
  } catch (error) {
    throw new VdbError("unavailable", `cannot connect to NATS at ${String(servers)}: ${errorMessage(error)}`, {
      cause: error,
    });
  }
}
