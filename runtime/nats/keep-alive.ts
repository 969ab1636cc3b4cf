/**
 * Checks that the servers of a node's connections are still there. A server that hangs (no FIN, no RST), or from which we are
 * cut off, answers no ping: connections to it are given up, so that the client reconnects.
 *
 * Each ping wakes the server and us, and the client itself would send them on each connection, even on busy ones. So all
 * connections are checked together: one that has received something needs no ping, and what one connection shows about a server
 * holds for the others to it.
 */
import type { NatsConnection } from "nats";
import { untilNextRenewal } from "../lease-renewal.ts";

const LOOK_MS = 2_000;

/**
 * Checks at which a ping is unanswered before the server counts as gone. More than one: after a stall of our own, answers may
 * still be unread.
 */
const UNANSWERED_MAX = 2;

/** Checks without a message, for further connections to the same server. Less than the 5 s after which the server pings. */
const QUIET_MAX = 2;

interface Watched {
  readonly connection: NatsConnection;
  /** Messages that it had received at the last check. */
  received: number;
  quiet: number;
  unanswered: number;
  ping: Promise<void> | undefined;
}

/** Checks them until disposed of. The most important come first. */
export function keepAlive(connections: readonly NatsConnection[], lookMs = LOOK_MS): Disposable {
  const watched = connections.map(
    (connection): Watched => ({ connection, received: 0, quiet: 0, unanswered: 0, ping: undefined }),
  );
  const look = () => {
    const seen = new Set<string>();
    const hanging = new Set<string>();
    for (const one of watched) {
      // While it reconnects, nothing is known about a server.
      if (!isConnected(one.connection)) {
        forget(one);
        continue;
      }
      const server = one.connection.getServer();
      count(one, seen.has(server) ? QUIET_MAX : 1);
      seen.add(server);
      if (one.unanswered >= UNANSWERED_MAX) hanging.add(server);
    }
    for (const one of watched) {
      if (!isConnected(one.connection) || !hanging.has(one.connection.getServer())) continue;
      forget(one);
      giveUp(one.connection);
    }
  };
  let timer: NodeJS.Timeout;
  const lookLater = () => {
    // At multiples of the process's clock, as renewals of leases are: one wake-up for both.
    timer = setTimeout(
      () => {
        look();
        lookLater();
      },
      untilNextRenewal(lookMs, performance.now()),
    );
    timer.unref();
  };
  lookLater();
  return { [Symbol.dispose]: () => clearTimeout(timer) };
}

export function isConnected(connection: NatsConnection): boolean {
  return connection.info !== undefined;
}

/** Makes a connection reconnect, perhaps to another of its servers. */
export function giveUp(connection: NatsConnection): void {
  if (isConnected(connection)) connection.reconnect().catch(() => undefined);
}

function forget(one: Watched): void {
  one.quiet = 0;
  one.unanswered = 0;
  one.ping = undefined;
}

function count(one: Watched, quietMax: number): void {
  const { inMsgs } = one.connection.stats();
  if (inMsgs !== one.received) {
    one.received = inMsgs;
    forget(one);
  } else if (one.ping !== undefined) one.unanswered++;
  else if (++one.quiet >= quietMax) ask(one);
}

function ask(one: Watched): void {
  // Rejects when the connection is lost, which the client sees to by itself.
  const ping = one.connection.flush();
  one.ping = ping;
  const onAnswer = () => {
    if (one.ping === ping) forget(one);
  };
  ping.then(onAnswer, onAnswer);
}
