/** Bugs that can be planted into the simulated server, to see that a run finds them. */
import type { ManifestDoc } from "../protocol/catalog.ts";
import { decode, encode } from "../protocol/codec.ts";
import type { SimCluster } from "./cluster.ts";

export const PLANTED_BUGS = {
  /** The log stores what it is told to, whatever the writer expects: nothing stops an owner that was replaced. */
  "log without fence": ({ server }) => {
    for (const stream of server.streams) stream.ignoresExpectations = true;
  },
  /** The meta store takes every commit: nothing stops a leader that was deposed. */
  "meta without guard": ({ server }) => {
    server.meta.ignoresExpectationOf = () => true;
  },
  /** The server acknowledges before it writes to the disk: a restart forgets the newest messages of the log. */
  "log without fsync": ({ server }) => {
    server.onStop = () => {
      for (const stream of server.streams) stream.loseNewest(3);
    };
  },
  /** Manifests are written over, not compared and set: of a flush and a compaction at the same time, one is lost. */
  "manifest without compare-and-set": ({ server }) => {
    server.meta.ignoresExpectationOf = ({ op, key }) => op === "put" && isManifest(key);
  },
  /** The oldest of a shard's deltas is dropped though segments lack it: a node that loads one has not all its deletes. */
  "delta dropped early": ({ server }) => {
    rewriteManifests(server, (manifest) => ({ ...manifest, deltas: manifest.deltas.slice(1) }));
  },
  /** A flush does not keep the ids of the requests in it: a retry after a take-over is applied twice. */
  "request ids forgotten": ({ server }) => {
    rewriteManifests(server, ({ requests: _, ...manifest }) => manifest);
  },
  /** Query nodes answer with the deletes that they have, not waiting for those that the read must see. */
  "read without its deletes": ({ server }) => {
    server.rewriteMessage = (subject, data) =>
      /\.query\.[\w-]+\.(search|query)$/.test(subject) ? encode({ ...(decode(data) as object), mutSeq: 0 }) : data;
  },
} as const satisfies Record<string, (cluster: SimCluster) => void>;

export type PlantedBug = keyof typeof PLANTED_BUGS;

function isManifest(key: string): boolean {
  return key.startsWith("manifest.");
}

function rewriteManifests({ meta }: SimCluster["server"], change: (manifest: ManifestDoc) => ManifestDoc): void {
  meta.rewrite = (key, value) => (isManifest(key) ? encode(change(decode(value) as ManifestDoc)) : value);
}
