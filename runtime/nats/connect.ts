/**
 * Connections to NATS. A node has four, so that a megabyte of an object never delays a lease renewal: `control` for meta and
 * leases, `requests` for what actors ask each other, `wal` for appends, `bulk` for objects and log readers.
 */
import { createInbox, type NatsConnection, type NodeConnectionOptions } from "nats";
import { VdbError } from "../errors.ts";
import { connectBulk } from "./bulk-connection.ts";
import { dialNats } from "./dial.ts";
import { keepAlive } from "./keep-alive.ts";
import { connectError, type TlsFiles } from "./tls.ts";

/** nats-server 2.14. Older servers drop what we rely on (atomic batches, message TTLs) without an error. */
const API_LEVEL_MIN = 4;

/** A group commit has up to 1 MiB, and so has an object chunk. */
const PAYLOAD_BYTES_MIN = 1 << 20;

export interface NatsOptions {
  /** All members of a NATS cluster, so that one that is down at the start is skipped; a string may hold several, comma-separated. */
  servers: string | string[];
  /** Shown in the server's logs and reports, with the connection's purpose added. */
  name: string;
  user?: string;
  pass?: string;
  /** Replies arrive under it: a prefix of its own for each user keeps others from listening in. */
  inboxPrefix?: string;
  /** No connection without TLS: see requiredTls. */
  tls?: TlsFiles;
}

export interface NatsConnections {
  readonly control: NatsConnection;
  readonly requests: NatsConnection;
  readonly wal: NatsConnection;
  readonly bulk: NatsConnection;
  close(): Promise<void>;
}

/** @throws VdbError unavailable (nobody there, refused), unimplemented (the server is too old, or its limits too small) */
export async function connectNats(options: NatsOptions): Promise<NatsConnections> {
  const open: NatsConnection[] = [];
  let alive: Disposable | undefined;
  const close = async (): Promise<void> => {
    alive?.[Symbol.dispose]();
    await Promise.all(open.map((connection) => connection.close()));
  };
  try {
    for (const purpose of ["control", "requests", "wal", "bulk"]) open.push(await connectOne(options, purpose));
    const [control, requests, wal, bulk] = open as [NatsConnection, NatsConnection, NatsConnection, NatsConnection];
    requireCapable(control);
    alive = keepAlive(open);
    return { control, requests, wal, bulk, close };
  } catch (error) {
    await close();
    throw error;
  }
}

/**
 * Given a string of several URLs, the npm client silently takes only the last; and whatever the scheme, it speaks plain TCP.
 * @throws VdbError invalid_parameter for a URL of another scheme than nats and tls
 */
export function serverList(servers: string | readonly string[]): string[] {
  const list = (typeof servers === "string" ? servers.split(",") : servers).map((server) => server.trim());
  const other = list.find((server) => server.includes("://") && !/^(nats|tls):\/\//i.test(server));
  if (other !== undefined) {
    throw new VdbError("invalid_parameter", `a NATS server is nats://host:port or tls://host:port, not ${other}`);
  }
  return list.filter((server) => server !== "");
}

/** A subject of this connection's own, under its inbox prefix: the only ones its user may subscribe to. */
export function newInbox(connection: NatsConnection): string {
  // The client's own requests use it too, though its type does not show it.
  return createInbox((connection as unknown as { options?: { inboxPrefix?: string } }).options?.inboxPrefix);
}

/** For a node's connections, where keepAlive notices sooner. */
const BACKSTOP_PING_MS = 60_000;

/** For every connection: it outlives servers. */
export const LASTING = {
  timeout: 5_000,
  // A server that is away is waited for: leases decide when a node has been away too long, and calls have deadlines.
  maxReconnectAttempts: -1,
  reconnectTimeWait: 250,
  reconnectJitter: 100,
  reconnectJitterTLS: 100,
  // A server that hangs (no FIN, no RST) or is cut off is noticed after three of these; the default takes minutes.
  pingInterval: 2_000,
  maxPingOut: 2,
  // Each request would otherwise build an Error for its stack: a third of the request rate.
  noAsyncTraces: true,
} as const satisfies NodeConnectionOptions;

async function connectOne(options: NatsOptions, purpose: string): Promise<NatsConnection> {
  const { name, ...given } = options;
  const servers = serverList(given.servers);
  const settings: NodeConnectionOptions = {
    ...given,
    servers,
    name: `${name}-${purpose}`,
    ...LASTING,
    pingInterval: BACKSTOP_PING_MS,
    ignoreAuthErrorAbort: true,
  };
  try {
    return await (purpose === "bulk" ? connectBulk(settings) : dialNats(settings));
  } catch (error) {
    throw connectError(servers, error);
  }
}

function requireCapable(connection: NatsConnection): void {
  const info = connection.info;
  if (info === undefined) throw new VdbError("unavailable", "the connection to NATS closed while it was set up");
  const apiLevel = info.api_lvl ?? 0;
  if (apiLevel < API_LEVEL_MIN) {
    throw new VdbError(
      "unimplemented",
      `nats-server ${info.version} has JetStream api level ${apiLevel}, need ${API_LEVEL_MIN} (nats-server 2.14 or newer)`,
    );
  }
  if (info.jetstream !== true) {
    throw new VdbError(
      "unimplemented",
      `nats-server ${info.version} runs without JetStream, enable it in its configuration`,
    );
  }
  if (info.max_payload < PAYLOAD_BYTES_MIN) {
    throw new VdbError(
      "unimplemented",
      `nats-server ${info.version} has max_payload ${info.max_payload}, need ${PAYLOAD_BYTES_MIN} or more`,
    );
  }
}
