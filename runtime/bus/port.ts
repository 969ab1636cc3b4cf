/** The wire below the bus: subjects and bytes, at most once. NATS in production; a simulator can stand behind it. */

export interface WireMessage {
  subject: string;
  data: Uint8Array;
  reply: string | undefined;
  /** A header's value; undefined when absent. */
  header(name: string): string | undefined;
  /** The server's answer to a request that nobody subscribes to. */
  noResponders: boolean;
}

export interface PublishOptions {
  reply?: string | undefined;
  headers?: Record<string, string> | undefined;
}

export interface WireSubscription {
  unsubscribe(): void;
  /** Ends it in order: resolves when what the server had already sent has been handed over. */
  drain(): Promise<void>;
}

export interface Transport {
  /** Replies to this node arrive below it: `<inbox>.<token>`. */
  readonly inbox: string;
  /** Largest message body, headers included, in bytes. */
  readonly maxPayload: number;
  publish(subject: string, data: Uint8Array, options?: PublishOptions): void;
  subscribe(subject: string, handler: (message: WireMessage) => void, options?: { queue?: string }): WireSubscription;
  /** Calls back when the connection is lost, and when it is back: asks not answered by then will never be. */
  onDisconnect(callback: () => void): void;
  /** Resolves when the server has seen everything sent so far. */
  flush(): Promise<void>;
  /** Bytes sent and received so far, protocol included. */
  traffic(): { sentBytes: number; receivedBytes: number };
}
