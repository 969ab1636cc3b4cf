/** The log at its bound: the streams of the log may grow no more for a while. */
import { jetstreamManager } from "@nats-io/jetstream";
import { connect } from "nats";
import { serverList } from "../../nats/connect.ts";
import type { Heal } from "./inject.ts";

/** What is left to write: owners need a little for the fences of a take-over. */
const ROOM_BYTES = 32 * 1024;

export async function fillLog(servers: string): Promise<Heal> {
  const nc = await connect({ servers: serverList(servers) });
  const jsm = await jetstreamManager(nc);
  const bounds: { name: string; maxBytes: number }[] = [];
  for await (const { config, state } of jsm.streams.list("vdb.wal.>")) {
    bounds.push({ name: config.name, maxBytes: config.max_bytes });
    await jsm.streams.update(config.name, { max_bytes: state.bytes + ROOM_BYTES });
  }
  if (bounds.length === 0) throw new Error("no stream of the log was found");
  return async () => {
    for (const { name, maxBytes } of bounds) await jsm.streams.update(name, { max_bytes: maxBytes });
    await nc.close();
  };
}
