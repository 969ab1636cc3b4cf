/** The client's connection to NATS, which outlives servers. */
import type { NatsConnection } from "nats";
import { LASTING, serverList } from "../runtime/nats/connect.ts";
import { dialNats } from "../runtime/nats/dial.ts";
import { connectError, requiredTls } from "../runtime/nats/tls.ts";
import type { ConnectOptions } from "./types.ts";

const TLS_OPTIONS = { caFile: "tls.caFile", certFile: "tls.certFile", keyFile: "tls.keyFile" };

/** @throws VdbError unavailable; invalid_parameter for files of TLS that are none */
export async function connectClient(options: ConnectOptions, inboxPrefix: string): Promise<NatsConnection> {
  const { user, pass } = options;
  const servers = serverList(options.servers);
  const tls = requiredTls(servers, options.tls ?? {}, TLS_OPTIONS);
  try {
    return await dialNats({
      servers,
      name: "vdb-client",
      inboxPrefix,
      ...(user === undefined ? {} : { user }),
      ...(pass === undefined ? {} : { pass }),
      ...(tls === undefined ? {} : { tls }),
      ...LASTING,
    });
  } catch (error) {
    throw connectError(servers, error);
  }
}
