/** A NATS server, and connections to it, for the tests of one file: there from before the first until after the last. */
import { afterAll, beforeAll } from "vitest";
import { connectNats, type NatsConnections } from "../nats/connect.ts";
import { startTestNats, type TestNats } from "./nats-server.ts";

export interface UsedNats {
  readonly url: string;
  readonly connections: NatsConnections;
  restart(): Promise<void>;
}

export function useNats(): UsedNats {
  let nats: TestNats;
  let connections: NatsConnections;
  beforeAll(async () => {
    nats = await startTestNats();
    connections = await connectNats({ servers: nats.url, name: "test" });
  });
  afterAll(async () => {
    await connections.close();
    await nats[Symbol.asyncDispose]();
  });
  return {
    get url() {
      return nats.url;
    },
    get connections() {
      return connections;
    },
    restart: () => nats.restart(),
  };
}
