/**
 * Connects the npm client over a transport of our own. The client's transport checks the certificate of a server given by
 * address for the name localhost; this one checks it for the address. And it leaves a server that hangs at once.
 *
 * It uses the client's building blocks: its protocol, its transport over TCP.
 */
import type { TLSSocket } from "node:tls";
import {
  type NatsConnection,
  NatsConnectionImpl,
  type NodeConnectionOptions,
  ProtocolHandler,
  type ServerInfo,
  setTransportFactory,
} from "nats";
import { NodeTransport, nodeResolveHost } from "nats/lib/node_transport.js";
import { requireCertificate } from "./tls.ts";

/** What the client's own connect sets; what is not set when a connection's options are read, its servers' names, is not resolved. */
const CLIENTS_OWN = { factory: () => new NodeTransport(), dnsResolveFn: nodeResolveHost };
setTransportFactory(CLIENTS_OWN);

/** @throws as the client's connect */
export async function dialNats(
  options: NodeConnectionOptions,
  Protocol: typeof DialProtocol = DialProtocol,
): Promise<NatsConnection> {
  // The client's own constructor allows no other protocol.
  const Connection = NatsConnectionImpl as unknown as new (options: NodeConnectionOptions) => NatsConnectionImpl;
  const connection = new Connection(options);
  connection.protocol = new Protocol(connection.options, connection);
  await connection.protocol.dialLoop();
  return connection as NatsConnection;
}

export class DialProtocol extends ProtocolHandler {
  newTransport(): NodeTransport {
    return new DialTransport();
  }

  override dial(server: Parameters<ProtocolHandler["dial"]>[0]): Promise<void> {
    // The client has one factory for all connections, and asks it at the beginning of this.
    setTransportFactory({ ...CLIENTS_OWN, factory: () => this.newTransport() });
    try {
      return super.dial(server);
    } finally {
      setTransportFactory(CLIENTS_OWN);
      // If the server closes the connection before its first answer, for lack of a certificate, nothing more is awaited.
      const { transport, connectError } = this;
      void transport.closed().then((error) => connectError?.(error ?? new Error("the server closed the connection")));
    }
  }
}

export class DialTransport extends NodeTransport {
  #hostname = "";
  #asksForCertificate = false;

  override connect(server: Parameters<NodeTransport["connect"]>[0], options: NodeConnectionOptions): Promise<void> {
    this.#hostname = server.hostname;
    return super.connect(server, options);
  }

  /** The client waits until everything written is taken, which a hanging server never does. */
  override disconnect(): void {
    const { socket } = this;
    super.disconnect();
    socket?.destroy();
  }

  override async peekInfo(): Promise<ServerInfo> {
    const info = await super.peekInfo();
    this.#asksForCertificate = info.tls_verify === true;
    return info;
  }

  override async startTLS(): Promise<TLSSocket> {
    if (this.#asksForCertificate) requireCertificate(this.options.tls);
    // A name is also sent to the server and checked; an address must not be sent.
    if (this.tlsName === "") {
      const tls = { ...this.options.tls, host: this.#hostname };
      this.options = { ...this.options, tls };
    }
    return super.startTLS();
  }
}
