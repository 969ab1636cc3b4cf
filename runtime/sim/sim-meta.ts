/** The meta store of a simulated process. */
import type { Clock } from "../clock.ts";
import type { MetaPort } from "../meta/port.ts";
import type { Link, ServerState } from "./link.ts";
import { KeyedClient, type KeyedStore } from "./sim-keyed.ts";

export function createSimMeta(store: KeyedStore, server: ServerState, link: Link, clock: Clock): MetaPort {
  const client = new KeyedClient(store, server, link, clock);
  return {
    get: (key) => client.get(key),
    commit: (ops) => client.commit(ops),
    watch: (prefixes, handler) => client.watch(prefixes, handler),
    lastRevision: () => client.lastRevision(),
  };
}
