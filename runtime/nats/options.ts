/** Connection options for NATS from the settings. */
import type { Config } from "../config/schema.ts";
import { type NatsOptions, serverList } from "./connect.ts";
import { requiredTls } from "./tls.ts";

const TLS_SETTINGS = { caFile: "nats.tlsCaFile", certFile: "nats.tlsCertFile", keyFile: "nats.tlsKeyFile" };

/**
 * Where NATS is and who we are there. The rights of a user of nats.conf end at an inbox of its own.
 * @throws VdbError invalid_parameter for files that are not there or not what they should be
 */
export function natsOptions(config: Config, name: string): NatsOptions & { inboxPrefix: string } {
  const { servers, user, password, tlsCaFile, tlsCertFile, tlsKeyFile } = config.nats;
  const list = serverList(servers);
  const files = {
    ...(tlsCaFile === "" ? {} : { caFile: tlsCaFile }),
    ...(tlsCertFile === "" ? {} : { certFile: tlsCertFile }),
    ...(tlsKeyFile === "" ? {} : { keyFile: tlsKeyFile }),
  };
  const tls = requiredTls(list, files, TLS_SETTINGS);
  return {
    servers: list,
    name,
    ...(user === "" ? { inboxPrefix: "_INBOX" } : { user, pass: password, inboxPrefix: `_INBOX_${user}` }),
    ...(tls === undefined ? {} : { tls }),
  };
}
