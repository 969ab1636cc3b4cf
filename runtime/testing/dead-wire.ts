/** A wire that nobody is on: what a process does not serve itself is never answered. */
import type { Transport } from "../bus/port.ts";

export const DEAD_WIRE: Transport = {
  inbox: "_INBOX.test",
  maxPayload: 1 << 20,
  publish: () => undefined,
  subscribe: () => ({ unsubscribe: () => undefined, drain: () => Promise.resolve() }),
  flush: () => Promise.resolve(),
  onDisconnect: () => undefined,
  traffic: () => ({ sentBytes: 0, receivedBytes: 0 }),
};
