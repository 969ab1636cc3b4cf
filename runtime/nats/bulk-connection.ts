/**
 * A NATS connection for megabytes: the npm client with two differences. A large payload goes to the socket as it is, while the
 * client joins it with the bytes before and after it; and a large message arrives as one piece of shared memory
 * (whole-messages.ts), while the client collects it from pieces of 64 KiB. These copies cost more than the rest of a transfer
 * on our side.
 *
 * A connection with TLS decrypts into pieces anyway and receives as the client does.
 */
import { createConnection, type Socket } from "node:net";
import type { NatsConnection, NodeConnectionOptions } from "nats";
import { DialProtocol, DialTransport, dialNats } from "./dial.ts";
import { createWholeMessages, LARGE_BYTES } from "./whole-messages.ts";

/** A published payload belongs to the connection until the server has answered. @throws as the client's connect */
export function connectBulk(options: NodeConnectionOptions): Promise<NatsConnection> {
  return dialNats(options, BulkProtocol);
}

class BulkProtocol extends DialProtocol {
  override newTransport(): DialTransport {
    return new BulkTransport();
  }

  override sendCommand(command: string | Uint8Array, ...payloads: Uint8Array[]): void {
    // A separate write costs as much as copying this many bytes.
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

class BulkTransport extends DialTransport {
  override dial(address: { hostname: string; port: number }): Promise<Socket> {
    return new Promise((resolve, reject) => {
      // The client listens to the socket: now for the server's greeting, later for messages.
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
