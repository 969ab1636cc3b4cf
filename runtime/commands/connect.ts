/** Commands as clients of a cluster. */
import { VdbClient } from "../../client/client.ts";
import type { Config } from "../config/schema.ts";
import { isVdbError, VdbError } from "../errors.ts";
import { natsOptions } from "../nats/options.ts";

/**
 * Runs a command's calls on a client. timeoutMs is for each call, with all its tries: a cluster that has just started,
 * or lost a node, is ready within seconds. Where callers are asked who they are, that is VDB_API_USER, by VDB_API_PASSWORD.
 * @throws VdbError unavailable when NATS cannot be reached; what the calls throw
 */
export async function withClient<T>(
  config: Config,
  timeoutMs: number,
  run: (client: VdbClient) => Promise<T>,
): Promise<T> {
  const { servers, user, pass, tls } = natsOptions(config, "vdb-cli");
  const identity = {
    ...(user === undefined ? {} : { user }),
    ...(pass === undefined ? {} : { pass }),
    ...(tls === undefined ? {} : { tls }),
  };
  const { VDB_API_USER: userName, VDB_API_PASSWORD: password = "" } = process.env;
  const credentials = userName === undefined ? {} : { credentials: { userName, password } };
  const client = await VdbClient.connect({
    servers,
    ...identity,
    ...credentials,
    prefix: config.nats.prefix,
    timeoutMs,
  });
  try {
    return await run(client);
  } catch (error) {
    if (!isVdbError(error, "node_not_found")) throw error;
    const message = `no proxy answers on ${config.nats.servers} below ${config.nats.prefix}: start one, or check --nats and --prefix`;
    throw new VdbError("node_not_found", message, { cause: error });
  } finally {
    await client.close();
  }
}
