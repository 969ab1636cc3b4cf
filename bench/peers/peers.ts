/** Everything that is compared, in the order of the report. */
import { hnswlibPeer } from "./hnswlib.ts";
import { lancedbPeer } from "./lancedb.ts";
import type { Peer } from "./peer.ts";
import { pgvectorPeer } from "./pgvector.ts";
import { usearchPeer } from "./usearch.ts";
import { vdbFiveProcesses, vdbHttp, vdbInProcess } from "./vdb.ts";

export const PEERS: readonly Peer[] = [
  vdbInProcess,
  vdbFiveProcesses,
  vdbHttp,
  lancedbPeer,
  pgvectorPeer("pgvector", "own"),
  pgvectorPeer("pgvector-tuned", "exact-for-few"),
  usearchPeer("usearch", "f32"),
  usearchPeer("usearch-f16", "f16"),
  hnswlibPeer,
];
