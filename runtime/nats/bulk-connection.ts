/**
 * A NATS connection for megabytes: the npm client, but a large payload goes to the socket as it is, where the client joins
 * it with what is before and after it, and a large message comes in as one piece of shared memory (whole-messages.ts),
 * where the client collects it from pieces of 64 KiB. Both cost more than all the rest of a transfer on our side.
 *
 * What the client gives for others to build on is used here: its protocol, its transport over TCP, its outgoing buffer. A
 * connection with TLS decrypts into pieces anyway and receives as the client does.
 */
import { createConnection, type Socket } from "node:net";
import {
  type NatsConnection,
  NatsConnectionImpl,
  type NodeConnectionOptions,
  ProtocolHandler,
  setTransportFactory,
} from "nats";
import { NodeTransport, nodeResolveHost } from "nats/lib/node_transport.js";
import { createWholeMessages, LARGE_BYTES } from "./whole-messages.ts";

/** What is published belongs to the connection until the server has answered. @throws as the client's connect */
export async function connectBulk(options: NodeConnectionOptions): Promise<NatsConnection> {
  // The client's own way to make one allows for no other protocol.
  const Connection = NatsConnectionImpl as unknown as new (options: NodeConnectionOptions) => NatsConnectionImpl;
  const connection = new Connection(options);
  connection.protocol = new BulkProtocol(connection.options, connection);
  await connection.protocol.dialLoop();
  return connection as NatsConnection;
}

class BulkProtocol extends ProtocolHandler {
  override dial(server: Parameters<ProtocolHandler["dial"]>[0]): Promise<void> {
    // The client has one factory for all connections, and asks it at the beginning of this.
    setTransportFactory({ factory: () => new BulkTransport(), dnsResolveFn: nodeResolveHost });
    try {
      return super.dial(server);
    } finally {
      setTransportFactory({ factory: () => new NodeTransport(), dnsResolveFn: nodeResolveHost });
    }
  }

  override sendCommand(command: string | Uint8Array, ...payloads: Uint8Array[]): void {
    // A write costs as much as copying so much to what is around it.
    const isLarge = payloads.some(({ length }) => length >= LARGE_BYTES);
    if (!isLarge || !this.connected || !this.infoReceived) {
      super.sendCommand(command, ...payloads);
      return;
    }
    if (this.outbound.size() > 0) this.transport.send(this.outbound.drain());
    this.transport.send(typeof command === "string" ? Buffer.from(command) : command);
    for (const payload of payloads) if (payload.length > 0) this.transport.send(payload);
  }
}

class BulkTransport extends NodeTransport {
  override dial(address: { hostname: string; port: number }): Promise<Socket> {
    return new Promise((resolve, reject) => {
      // What listens to the socket is the client's: now for the server's greeting, later for messages.
      const messages = createWholeMessages((frame) => socket.emit("data", frame));
      const socket = createConnection(
        {
          host: address.hostname,
          port: address.port,
          noDelay: true,
          onread: {
            buffer: messages.target,
            callback: (count) => {
              messages.arrived(count);
              return true;
            },
          },
        },
        () => {
          socket.removeAllListeners();
          resolve(socket);
        },
      );
      socket.on("error", reject);
      socket.on("close", () => reject(new Error("the connection was closed")));
    });
  }
}
