/**
 * A NATS server that is cut off from the other members of its cluster still answers pings, but nothing sent to it reaches
 * anybody: connections to it are replaced by ones to another member. During an election or a restart all connections of a node
 * are unanswered for a while; here only those to this server are.
 */
import type { StreamInfo } from "@nats-io/jetstream";
import type { NatsConnection } from "nats";
import type { Clock } from "../clock.ts";
import type { Logger } from "../logger.ts";
import { hasLeader, isTransient } from "../meta/stream-calls.ts";
import type { NatsConnections } from "./connect.ts";
import { giveUp } from "./keep-alive.ts";

/** Time between two checks; also how long an answer may take. */
const LOOK_MS = 2_000;

/** Checks in a row at which a connection was not answered while another one was. */
const ALONE_MAX = 3;

/** Checks in a row at which none was answered: longer than an election (4 to 9 s) and a restart. */
const NONE_MAX = 10;

/** Bytes received between two checks: more than answers and pings are. */
const BUSY_BYTES = 64 * 1024;

type Purpose = Exclude<keyof NatsConnections, "close">;
const PURPOSES: readonly Purpose[] = ["control", "requests", "wal", "bulk"];

export interface CutOffOptions {
  /** A stream with copies on several members: only a server that reaches most of them can describe it. */
  stream: string;
  clock: Clock;
  logger: Logger;
  signal: AbortSignal;
}

/** Runs until the signal. */
export async function leaveCutOffServers(connections: NatsConnections, options: CutOffOptions): Promise<void> {
  const { stream, clock, logger, signal } = options;
  const unanswered = new Map<Purpose, number>();
  const received = new Map<Purpose, number>();
  while (!signal.aborted) {
    await clock.sleep(LOOK_MS, signal).catch(() => undefined);
    if (signal.aborted) return;
    const looks = await Promise.all(
      PURPOSES.map(async (purpose) => {
        const isAnswered = await hasAnswer(connections[purpose], stream);
        const bytes = connections[purpose].stats().inBytes;
        // A request behind an object in transfer is answered late, but it is answered.
        const isBusy = purpose === "bulk" && bytes > (received.get(purpose) ?? 0) + BUSY_BYTES;
        received.set(purpose, bytes);
        return { purpose, isAnswered: isAnswered || isBusy };
      }),
    );
    if (signal.aborted) return;
    const max = looks.some(({ isAnswered }) => isAnswered) ? ALONE_MAX : NONE_MAX;
    for (const { purpose, isAnswered } of looks) {
      const count = isAnswered ? 0 : (unanswered.get(purpose) ?? 0) + 1;
      unanswered.set(purpose, count >= max ? 0 : count);
      if (count < max) continue;
      const connection = connections[purpose];
      logger.warn({ connection: purpose, server: connection.getServer() }, "NATS server is cut off: trying another");
      moveOn(connection);
    }
  }
}

/** Whatever fails here (the connection is down, or closed) needs no help. */
function moveOn(connection: NatsConnection): void {
  try {
    tryLast(connection, connection.getServer());
    giveUp(connection);
  } catch {}
}

/** The client takes the first of its list. Its own way of changing the list, setServers, puts it into a random order. */
function tryLast(connection: NatsConnection, server: string): void {
  const { servers } = (connection as unknown as { protocol: { servers: { servers: { listen: string }[] } } }).protocol
    .servers;
  const at = servers.findIndex(({ listen }) => listen === server);
  if (at >= 0) servers.push(...servers.splice(at, 1));
}

/** Whether most members can be reached from the server that it is connected to. */
async function hasAnswer(connection: NatsConnection, stream: string): Promise<boolean> {
  try {
    const reply = await connection.request(`$JS.API.STREAM.INFO.${stream}`, "", { timeout: LOOK_MS });
    const info = reply.json<{ error?: { code: number } } & StreamInfo>();
    return info.error?.code !== 503 && hasLeader(info);
  } catch (error) {
    return !isTransient(error);
  }
}
