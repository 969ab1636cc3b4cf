/**
 * Connections to NATS. A node has four, so that a megabyte of an object never stands before a lease renewal: `control`
 * for meta and leases, `requests` for what actors ask each other, `wal` for appends, `bulk` for objects and log readers.
 */
import { connect, createInbox, type NatsConnection, type NodeConnectionOptions } from "nats";
import { errorMessage, VdbError } from "../errors.ts";
import { connectBulk } from "./bulk-connection.ts";
import { keepAlive } from "./keep-alive.ts";

/** nats-server 2.14. Below it, what we rely on (atomic batches, message TTLs) is dropped without an error. */
const API_LEVEL_MIN = 4;

/** One group commit is up to 1 MiB, and an object chunk likewise. */
const PAYLOAD_BYTES_MIN = 1 << 20;

export interface NatsOptions {
  /** All members of a NATS cluster, so that one that is down at the start is passed over; a string may hold several, comma-separated. */
  servers: string | string[];
  /** Shows in the server's logs and reports; the connection's purpose is added. */
  name: string;
  user?: string;
  pass?: string;
  /** Replies arrive under it: a prefix of its own for each user keeps others from listening in. */
  inboxPrefix?: string;
  tls?: NonNullable<NodeConnectionOptions["tls"]>;
}

export interface NatsConnections {
  readonly control: NatsConnection;
  readonly requests: NatsConnection;
  readonly wal: NatsConnection;
  readonly bulk: NatsConnection;
  close(): Promise<void>;
}

/** @throws VdbError unavailable (nobody there, refused), unimplemented (the server is too old or too small for us) */
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

/** The npm client takes a string of several URLs for the last of them alone, without a word. */
export function serverList(servers: string | readonly string[]): string[] {
  const list = typeof servers === "string" ? servers.split(",") : servers;
  return list.map((server) => server.trim()).filter((server) => server !== "");
}

/** A subject of this connection's own, under its inbox prefix: the only ones its user may subscribe to. */
export function newInbox(connection: NatsConnection): string {
  // The client's own requests go by it too; its type does not show it.
  return createInbox((connection as unknown as { options?: { inboxPrefix?: string } }).options?.inboxPrefix);
}

/** Of a node's connections: keepAlive notices sooner. */
const BACKSTOP_PING_MS = 60_000;

/** Of every connection: it outlives servers. */
export const LASTING = {
  timeout: 5_000,
  // A server that is away is waited for: leases decide when a node has been away too long, and calls have deadlines.
  maxReconnectAttempts: -1,
  reconnectTimeWait: 250,
  reconnectJitter: 100,
  // One that hangs (no FIN, no RST), or is cut off, is noticed after three of these; the stock setting takes minutes.
  pingInterval: 2_000,
  maxPingOut: 2,
  // Each request would otherwise build an Error for its stack: a third of the request rate.
  noAsyncTraces: true,
} as const satisfies NodeConnectionOptions;

async function connectOne(options: NatsOptions, purpose: string): Promise<NatsConnection> {
  const { name, ...given } = options;
  const settings: NodeConnectionOptions = {
    ...given,
    servers: serverList(given.servers),
    name: `${name}-${purpose}`,
    ...LASTING,
    pingInterval: BACKSTOP_PING_MS,
    ignoreAuthErrorAbort: true,
  };
  try {
    return await (purpose === "bulk" ? connectBulk(settings) : connect(settings));
  } catch (error) {
    throw new VdbError("unavailable", `cannot connect to NATS at ${String(options.servers)}: ${errorMessage(error)}`, {
      cause: error,
    });
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
