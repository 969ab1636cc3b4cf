/** The programs in scripts/examples do what they say. */
import type { MilvusClient } from "@zilliz/milvus2-sdk-node";
import { afterAll, beforeAll, expect, test } from "vitest";
import { fullTextSearch } from "../../scripts/examples/full-text-search.ts";
import { helloWorld } from "../../scripts/examples/hello-world.ts";
import { hybridSearch } from "../../scripts/examples/hybrid-search.ts";
import { iterators } from "../../scripts/examples/iterators.ts";
import { multiTenancy } from "../../scripts/examples/multi-tenancy.ts";
import { type GrpcNode, startGrpcNode } from "./node.ts";

let node: GrpcNode;
let client: MilvusClient;

const upTo = (count: number, step = 1) => Array.from({ length: count }, (_, i) => i * step);

beforeAll(async () => {
  node = await startGrpcNode();
  ({ client } = node);
});

afterAll(async () => {
  await node?.[Symbol.asyncDispose]();
});

test.for([
  [
    "hello world",
    helloWorld,
    {
      nearest: ["Moby Dick", "The Old Man and the Sea"],
      nearestRecent: ["The Old Man and the Sea", "Solaris"],
      old: ["Moby Dick"],
    },
  ],
  [
    "full-text search",
    fullTextSearch,
    {
      found: [
        "Whales sing; the songs of whales travel for miles.",
        "In the desert nobody sings of harbours.",
        "The whale swam around the ship for three days.",
      ],
      filtered: ["A ship needs a harbour, and a sailor needs a ship."],
    },
  ],
  [
    "hybrid search",
    hybridSearch,
    {
      meaning: ["how to bake bread with rye", "pasta for two", "the best soups of the coast"],
      words: ["a train along the coast", "the best soups of the coast"],
      ranked: ["the best soups of the coast", "a train along the coast", "how to bake bread with rye"],
      weighted: ["the best soups of the coast", "how to bake bread with rye", "pasta for two"],
    },
  ],
  [
    "multi-tenancy",
    multiTenancy,
    {
      found: {
        acme: [21, 18, 24],
        globex: [22, 19, 25],
        initech: [23, 20, 26],
      },
      counts: { acme: 100, globex: 100, initech: 100 },
      left: 200,
    },
  ],
  ["iterators", iterators, { queried: upTo(500, 2), searched: upTo(500) }],
] as const)("%s", async ([, example, expected]) => {
  const lines: string[] = [];
  expect(await example(client, (line) => lines.push(line))).toEqual(expected);
  expect(lines.length).toBeGreaterThan(0);
  expect((await client.showCollections()).data).toEqual([]);
});
