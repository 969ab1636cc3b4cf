/**
 * One peer on one data set: load, index, the smallest effort that reaches the recall, then searches at it. Runs in its own
 * process (`measure.js PEER DATA SECONDS`), so that memory is the peer's alone and a crash affects nothing else.
 */
import { cpuSeconds } from "../cpu-time.ts";
import { watchTotalMemory } from "../memory.ts";
import { dataSet, readPeerData } from "./data-sets.ts";
import { PEERS } from "./peers.ts";
import { type InsertToFound, insertToFound, type PeerSearch, searchAll } from "./searches.ts";

/** Threads with which a library builds its index, if it can. */
const BUILD_THREADS = 2;

export interface PeerResult {
  peer: string;
  data: string;
  /** Set if it could not run; then nothing else is. */
  skipped?: string;
  description?: string;
  /** Rows acknowledged per second; absent if loading builds the index. */
  insertRowsPerSecond?: number;
  /** From the first row to the last one being found through the index. */
  indexedSeconds?: number;
  /** Processor seconds of all processes in that time. */
  indexedCpuSeconds?: number;
  searches?: PeerSearch[];
  insertToFound?: InsertToFound;
  /** Peak of the peer's processes and this client together, less the client's memory before the peer was opened. */
  peakMiB?: number;
}

async function main(name: string, set: string, seconds: number): Promise<PeerResult> {
  const peer = PEERS.find((one) => one.name === name);
  if (peer === undefined) throw new Error(`no peer ${name}: one of ${PEERS.map((one) => one.name).join(", ")}`);
  const missing = await peer.missing();
  if (missing !== undefined) return { peer: name, data: set, skipped: missing };
  const data = await readPeerData(dataSet(set));
  // The data is loaded before the peer is opened: memory until then is not the peer's.
  const memory = watchTotalMemory(process.pid);
  const session = await peer.open(data, BUILD_THREADS);
  try {
    const cpuBefore = cpuSeconds(process.pid);
    const started = performance.now();
    await session.load?.();
    const loaded = performance.now();
    await session.buildIndex();
    const indexed = performance.now();
    const indexedCpuSeconds = cpuSeconds(process.pid) - cpuBefore;
    process.stderr.write(`${name} ${set}: indexed in ${((indexed - started) / 1000).toFixed(1)} s\n`);
    const searches = await searchAll(session, data, seconds * 1000);
    const fresh = await insertToFound(session, data, searches[0]?.ef ?? 0);
    return {
      peer: name,
      data: set,
      description: peer.describe(),
      ...(session.load === undefined ? {} : { insertRowsPerSecond: (data.rows / (loaded - started)) * 1000 }),
      indexedSeconds: (indexed - started) / 1000,
      indexedCpuSeconds,
      searches,
      ...(fresh === undefined ? {} : { insertToFound: fresh }),
      peakMiB: memory.stop() - memory.startMiB,
    };
  } finally {
    memory.stop();
    await session.close();
  }
}

const [name = "", set = "", seconds = "5"] = process.argv.slice(2);
const result = await main(name, set, Number(seconds));
process.send?.(result);
if (process.send === undefined) process.stdout.write(`${JSON.stringify(result, null, 2)}\n`);
process.disconnect?.();
