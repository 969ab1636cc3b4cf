import { expect, test } from "vitest";
import type { ClusterStatus } from "./status/collect.ts";
import { renderStatus } from "./status.ts";

const LONG = "n".repeat(255);

test("long names of hosts, collections and indexed fields are cut, so that a row stays a line", () => {
  const status: ClusterStatus = {
    clusterId: "c",
    walChannels: 1,
    leader: null,
    nodes: [
      { nodeId: "n1", roles: ["proxy"], host: LONG, pid: 1, version: "", ageSeconds: 1, isDraining: false, load: {} },
    ],
    channels: [],
    collections: [
      {
        database: "default",
        name: LONG,
        collectionId: 1,
        shards: 1,
        loadState: "loaded",
        replicas: 1,
        rowsInSegments: 10,
        growingRows: 0,
        segments: { flushed: 1, indexed: 1, served: 1, bytes: 0 },
        indexes: ["a", "b", LONG].map((field) => ({ name: field, field, type: "HNSW", metric: "L2" })),
      },
    ],
  };
  const lines = renderStatus(status).split("\n");
  const [node, collection] = ["n1 ", "nnn"].map((start) => lines.find((line) => line.startsWith(start))!);
  expect(node).toContain(` ${"n".repeat(39)}…  `);
  expect(collection).toMatch(/^n{39}… {2}.* a: HNSW L2, b: HNSW L2, n{35}…$/);
});
