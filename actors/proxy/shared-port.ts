/**
 * One port for two protocols: the first bytes of a connection say whether it is HTTP/2 (a gRPC client) or HTTP/1.1. With
 * a certificate both come over TLS, and with an authority's too, clients must have one of its certificates.
 */
import { createServer, type RequestListener, type Server } from "node:http";
import { createServer as createTlsServer } from "node:https";
import type { Socket } from "node:net";
import type { Clock } from "../../runtime/clock.ts";
import { BODY_MS } from "./request-bodies.ts";

/** All HTTP/2 connections begin so. */
const PREFACE = Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
/** A connection that has not shown its protocol by then is closed, however steadily it sends. */
const DECISION_MS = 30_000;
/** For the headers of a request to arrive. */
const HEADERS_MS = 30_000;
/** For TLS's handshake, as long as a stopping proxy may wait for one. */
const HANDSHAKE_MS = 10_000;
/** As fastify has it: longer than the idle timeouts of load balancers. */
const KEEP_ALIVE_MS = 72_000;

export interface Tls {
  readonly cert: Buffer;
  readonly key: Buffer;
  /** The authority whose certificates clients must have; undefined: they need none. */
  readonly ca: Buffer | undefined;
}

export interface SharedPort {
  /** An HTTP server that hands HTTP/2's connections over. Not listening yet. */
  serve(handler: RequestListener): Server;
  /** Ends the connections that have not said what they are; those that come later end at once. */
  close(): void;
  /** Ends all connections, whatever is under way on them: also those in the middle of TLS's handshake. */
  cutOff(): void;
}

export interface SharedPortOptions {
  clock: Clock;
  /** Undefined: in the clear. */
  tls: Tls | undefined;
  /** Open at once; more are closed as they come. */
  connectionsMax: number;
}

export function sharedPort(
  { clock, tls, connectionsMax }: SharedPortOptions,
  takeHttp2: (connection: Socket) => void,
): SharedPort {
  const undecided = new Set<Socket>();
  const open = new Set<Socket>();
  let isClosed = false;

  /** What is read is put back: whoever takes the connection reads it from its first byte on. */
  function decide(socket: Socket, takeHttp1: (connection: Socket) => void): void {
    if (isClosed) {
      socket.destroy();
      return;
    }
    undecided.add(socket);
    let head: Buffer = Buffer.alloc(0);
    const leave = () => {
      undecided.delete(socket);
      timer[Symbol.dispose]();
      socket.off("readable", look);
      socket.off("end", drop);
      socket.off("error", drop);
      socket.off("close", leave);
    };
    const drop = () => {
      leave();
      socket.destroy();
    };
    const look = () => {
      const bytes = socket.read() as Buffer | null;
      if (bytes === null) return;
      head = Buffer.concat([head, bytes]);
      const length = Math.min(head.length, PREFACE.length);
      const isHttp2 = head.subarray(0, length).equals(PREFACE.subarray(0, length));
      if (isHttp2 && length < PREFACE.length) return;
      leave();
      socket.unshift(head);
      if (!isHttp2) {
        takeHttp1(socket);
        return;
      }
      // HTTP/1.1's servers allow it and end their half themselves; HTTP/2's sessions never would.
      socket.allowHalfOpen = false;
      takeHttp2(socket);
    };
    const timer = clock.timer(DECISION_MS, drop);
    socket.on("readable", look);
    socket.on("end", drop);
    socket.on("error", drop);
    socket.on("close", leave);
  }

  return {
    serve(handler) {
      const server =
        tls === undefined
          ? createServer(handler)
          : createTlsServer(
              {
                cert: tls.cert,
                key: tls.key,
                handshakeTimeout: HANDSHAKE_MS,
                // In this order: gRPC's clients offer HTTP/2 alone, and those that offer both want the REST API.
                ALPNProtocols: ["http/1.1", "h2"],
                ...(tls.ca === undefined ? {} : { ca: tls.ca, requestCert: true, rejectUnauthorized: true }),
              },
              handler,
            );
      server.keepAliveTimeout = KEEP_ALIVE_MS;
      server.headersTimeout = HEADERS_MS;
      server.requestTimeout = BODY_MS;
      server.maxConnections = connectionsMax;
      const event = tls === undefined ? "connection" : "secureConnection";
      const takers = server.listeners(event) as ((connection: Socket) => void)[];
      server.removeAllListeners(event);
      server.on(event, (socket: Socket) =>
        decide(socket, (connection) => {
          for (const take of takers) take.call(server, connection);
        }),
      );
      server.prependListener("connection", (socket: Socket) => {
        open.add(socket);
        socket.once("close", () => open.delete(socket));
      });
      return server;
    },
    close() {
      isClosed = true;
      for (const socket of undecided) socket.destroy();
    },
    cutOff() {
      for (const socket of open) socket.destroy();
    },
  };
}
