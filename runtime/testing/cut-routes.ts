/**
 * Links between the members of a NATS cluster that can be cut: what members say to each other goes through a relay in
 * front of each of them. A member that is cut off hears of no other and no other of it, as when a switch dies; its own
 * clients still reach it, and nothing is closed: bytes wait, as those that a network does not deliver.
 *
 * Whoever opens a link says its name in the first lines that it sends, which is how both ends of a link are known.
 */
import { createConnection, createServer, type Server, type Socket } from "node:net";

/** What a member sends before it has said its name is less by far. */
const GREETING_BYTES_MAX = 64 * 1024;

export interface CutRoutes extends AsyncDisposable {
  /** From now on nothing passes between the member and the others; links that are opened meanwhile wait as well. */
  cut(member: string): void;
  mend(member: string): void;
}

export interface RelayedMember {
  readonly name: string;
  /** Where it listens for the others. */
  readonly routePort: number;
  /** Where the others are told that it listens. */
  readonly relayPort: number;
}

interface Link {
  readonly to: string;
  /** Null until it has been said. */
  from: string | null;
  readonly sockets: readonly [Socket, Socket];
}

export async function relayRoutes(members: readonly RelayedMember[]): Promise<CutRoutes> {
  const isCut = new Set<string>();
  const links = new Set<Link>();
  const stands = ({ to, from }: Link) => !isCut.has(to) && (from === null || !isCut.has(from));
  /** Lets bytes pass, or wait. */
  const settle = (link: Link) => {
    for (const socket of link.sockets) {
      if (stands(link)) socket.resume();
      else socket.pause();
    }
  };
  const settleAll = () => {
    for (const link of links) settle(link);
  };

  const open = (to: RelayedMember, opener: Socket): void => {
    const listener = createConnection({ host: "127.0.0.1", port: to.routePort });
    const link: Link = { to: to.name, from: null, sockets: [opener, listener] };
    links.add(link);
    let greeting = "";
    opener.on("data", (chunk: Buffer) => {
      if (link.from === null && greeting.length < GREETING_BYTES_MAX) {
        greeting += chunk.toString("latin1");
        link.from = /"server_name":"([^"]+)"/.exec(greeting)?.[1] ?? null;
        if (link.from !== null && !stands(link)) {
          // Neither side takes it for a link before this has arrived.
          settle(link);
          opener.unshift(chunk);
          return;
        }
      }
      forward(opener, listener, chunk);
    });
    listener.on("data", (chunk: Buffer) => forward(listener, opener, chunk));
    const forward = (source: Socket, sink: Socket, chunk: Buffer): void => {
      if (sink.write(chunk)) return;
      source.pause();
      sink.once("drain", () => settle(link));
    };
    const end = () => {
      links.delete(link);
      opener.destroy();
      listener.destroy();
    };
    for (const socket of link.sockets) {
      socket.setNoDelay(true);
      socket.once("close", end);
      socket.on("error", end);
    }
    settle(link);
  };

  const relays = await Promise.all(
    members.map(
      (member) =>
        new Promise<Server>((resolve, reject) => {
          const relay = createServer((opener) => open(member, opener));
          relay.once("error", reject);
          relay.listen(member.relayPort, "127.0.0.1", () => resolve(relay));
        }),
    ),
  );
  return {
    cut(member) {
      isCut.add(member);
      settleAll();
    },
    mend(member) {
      isCut.delete(member);
      settleAll();
    },
    async [Symbol.asyncDispose]() {
      for (const { sockets } of links) for (const socket of sockets) socket.destroy();
      await Promise.all(relays.map((relay) => new Promise((resolve) => relay.close(resolve))));
    },
  };
}
