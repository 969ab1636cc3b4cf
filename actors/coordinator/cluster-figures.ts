/** What the leader knows of the whole cluster, for metrics: it alone says so, or sums over nodes would count it again. */
import { type ActorContext, ROLES } from "../../runtime/actor.ts";
import { addSegments, noSegments } from "../../runtime/meta/segment-counts.ts";
import { type Figures, samplesBy } from "../../runtime/metrics/metrics.ts";

/** What it has given to other nodes and waits for. */
export interface Underway {
  readonly builds: () => number;
  readonly loads: () => number;
  readonly compactions: () => number;
  readonly imports: () => number;
}

export function clusterFigures({ catalog, nodes }: ActorContext, underway: Underway): Figures {
  const collections = catalog.collections();
  const all = noSegments();
  for (const collection of collections) addSegments(all, catalog, collection);
  const { flushed, indexed, served, unserved } = all;
  return {
    vdb_coordinator_jobs: samplesBy("kind", [
      ["build-index", underway.builds()],
      ["load", underway.loads()],
      ["compact", underway.compactions()],
      ["import", underway.imports()],
    ]),
    vdb_nodes: samplesBy(
      "role",
      ROLES.map((role) => [role, nodes.ofRole(role).length]),
    ),
    vdb_collections: collections.length,
    vdb_segments: samplesBy("state", Object.entries({ flushed, indexed, served, unserved })),
    vdb_segment_rows: all.rows,
  };
}
