/**
 * Flushing. A flush answers when everything written before is in objects, so its state, when asked for afterwards, is
 * always: done.
 */
import { isVdbError } from "../../../../runtime/errors.ts";
import * as api from "../../../../runtime/protocol/public.ts";
import { newTimestamp } from "../../new-timestamp.ts";
import { type GrpcCall, type GrpcFront, type Rpc, rpc } from "../rpc.ts";
import { segmentsOf } from "./segments.ts";
import { dataOf, numberOf, physicalOf } from "./shapes.ts";

interface FlushRequest {
  dbName: string;
  collectionNames: string[];
}

interface FlushAllRequest {
  dbName: string;
  flushTargets: FlushRequest[];
}

/** A flush writes every shard of its collection: few at once. */
const COLLECTIONS_AT_ONCE = 4;

export const flushRpcs: Rpc[] = [
  rpc("Flush", flush),
  rpc("GetFlushState", isFlushed),
  rpc("FlushAll", flushAll),
  rpc("GetFlushAllState", isFlushed),
  rpc("AllocTimestamp", async (front, _request, call) => ({ timestamp: String(await newTimestamp(front, call)) })),
];

async function isFlushed() {
  return { flushed: true };
}

async function flush(front: GrpcFront, { dbName, collectionNames }: FlushRequest, call: GrpcCall) {
  const collSegIDs: Record<string, object> = {};
  const flushCollSegIDs: Record<string, object> = {};
  const collSealTimes: Record<string, string> = {};
  const collFlushTs: Record<string, string> = {};
  for (const collectionName of collectionNames) {
    await front.ask(api.flushCollection, { dbName, collectionName }, call);
    const timestamp = String(await newTimestamp(front, call));
    const segments = await segmentsOf(front, { dbName, collectionName }, call);
    // Nothing is on its way any more.
    collSegIDs[collectionName] = { data: [] };
    flushCollSegIDs[collectionName] = { data: segments.map(({ segmentID }) => numberOf(segmentID)) };
    collSealTimes[collectionName] = String(BigInt(physicalOf(timestamp)) / 1000n);
    collFlushTs[collectionName] = timestamp;
  }
  return { dbName, collSegIDs, flushCollSegIDs, collSealTimes, collFlushTs };
}

/** The collections that are named, else those of the database that is named, else all. */
async function flushAll(front: GrpcFront, request: FlushAllRequest, call: GrpcCall) {
  const targets = request.flushTargets.length > 0 ? request.flushTargets : await databases(front, request, call);
  const flushResults: { dbName: string; collectionResults: object[] }[] = [];
  for (const { dbName, collectionNames } of targets) {
    const names =
      collectionNames.length > 0
        ? [...collectionNames]
        : [...dataOf<string[]>(await front.ask(api.listCollections, { dbName }, call))];
    const isListed = collectionNames.length === 0;
    const collectionResults: object[] = [];
    const work = async () => {
      for (let name = names.shift(); name !== undefined; name = names.shift()) {
        try {
          const { flushCollSegIDs, collFlushTs } = await flush(front, { dbName, collectionNames: [name] }, call);
          const flushTs = collFlushTs[name];
          collectionResults.push({ collectionName: name, flushSegmentIds: flushCollSegIDs[name], flushTs });
        } catch (error) {
          // Dropped since it was listed.
          if (!isListed || !isVdbError(error, "collection_not_found")) throw error;
        }
      }
    };
    await Promise.all(Array.from({ length: COLLECTIONS_AT_ONCE }, work));
    flushResults.push({ dbName, collectionResults });
  }
  return { flushAllTs: String(await newTimestamp(front, call)), flushResults };
}

async function databases(front: GrpcFront, { dbName }: FlushAllRequest, call: GrpcCall): Promise<FlushRequest[]> {
  if (dbName !== "") return [{ dbName, collectionNames: [] }];
  const names = dataOf<string[]>(await front.ask(api.listDatabases, {}, call));
  return names.map((name) => ({ dbName: name, collectionNames: [] }));
}
