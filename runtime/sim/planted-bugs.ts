/** Bugs that can be planted into the simulated server, to see that a run finds them. */
import type { SimCluster } from "./cluster.ts";

export const PLANTED_BUGS = {
  /** The log stores what it is told to, whatever the writer expects: nothing stops an owner that was replaced. */
  "log without fence": ({ server }) => {
    for (const stream of server.streams) stream.ignoresExpectations = true;
  },
  /** The meta store takes every commit: nothing stops a leader that was deposed. */
  "meta without guard": ({ server }) => {
    server.meta.ignoresExpectations = true;
  },
  /** The server acknowledges before it writes to the disk: a restart forgets the newest messages of the log. */
  "log without fsync": ({ server }) => {
    server.onStop = () => {
      for (const stream of server.streams) stream.loseNewest(3);
    };
  },
} as const satisfies Record<string, (cluster: SimCluster) => void>;

export type PlantedBug = keyof typeof PLANTED_BUGS;
