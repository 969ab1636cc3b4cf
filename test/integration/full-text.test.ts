/**
 * Full-text search of real texts: the descriptions of 3,000 Debian packages, in two shards, some sealed in several
 * segments, some growing. Each ranking is compared with BM25 computed by looking at every text.
 */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import { afterAll, beforeAll, expect, test } from "vitest";
import { VdbClient } from "../../client/client.ts";
import type { Hit } from "../../client/types.ts";
import { ROLES } from "../../runtime/actor.ts";
import { startTestCluster, type TestCluster } from "../../runtime/testing/cluster.ts";
import { seededNumbers } from "../../runtime/testing/vectors.ts";
import { PROJECT_FOLDER } from "../../runtime/version.ts";

const COLLECTION = "texts";
const QUERIES = 200;
const LIMIT = 10;
const K1 = 1.2;
const B = 0.75;

/** Scores are float32, of weights that are float32. */
const PRECISION = 1e-5;

interface Text {
  id: number;
  text: string;
}

const wordsOf = (text: string): string[] => text.toLowerCase().match(/[\p{L}\p{N}\p{M}]+/gu) ?? [];

/** BM25 by its definition, of the texts that there are. */
class Model {
  readonly #counts = new Map<number, { length: number; counts: Map<string, number> }>();

  put({ id, text }: Text): void {
    const words = wordsOf(text);
    const counts = new Map<string, number>();
    for (const word of words) counts.set(word, (counts.get(word) ?? 0) + 1);
    this.#counts.set(id, { length: words.length, counts });
  }

  delete(id: number): void {
    this.#counts.delete(id);
  }

  /** Of every text that has a word of the query. */
  scores(query: string): Map<number, number> {
    const texts = [...this.#counts];
    const mean = texts.reduce((sum, [, { length }]) => sum + length, 0) / texts.length;
    const scores = new Map<number, number>();
    for (const word of wordsOf(query)) {
      const having = texts.filter(([, { counts }]) => counts.has(word));
      const idf = Math.log(1 + (texts.length - having.length + 0.5) / (having.length + 0.5));
      for (const [id, { length, counts }] of having) {
        const tf = counts.get(word)!;
        const part = (idf * tf * (K1 + 1)) / (tf + K1 * (1 - B + (B * length) / mean));
        scores.set(id, (scores.get(id) ?? 0) + part);
      }
    }
    return scores;
  }
}

let cluster: TestCluster;
let client: VdbClient;
let texts: Text[];
const model = new Model();

beforeAll(async () => {
  const file = join(PROJECT_FOLDER, "scripts", "sample", "packages.ndjson.gz");
  texts = gunzipSync(await readFile(file))
    .toString("utf8")
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line) as { id: number; title: string; text: string })
    .map(({ id, title, text }) => ({ id, text: `${title}. ${text}` }));
  cluster = await startTestCluster([[...ROLES]]);
  client = VdbClient.inProcess(cluster.nodes[0]!.bus);
});
afterAll(async () => {
  await client?.close();
  await cluster?.[Symbol.asyncDispose]();
});

async function put(part: readonly Text[]): Promise<void> {
  await client.upsert({ collectionName: COLLECTION, data: part.map((row) => ({ ...row })) });
  for (const text of part) model.put(text);
}

async function search(queries: readonly string[]): Promise<Hit[][]> {
  return client.search({ collectionName: COLLECTION, data: queries, limit: LIMIT, consistencyLevel: "Strong" });
}

/** Two to five words of some text, so that most queries have answers, and some words are in a third of all texts. */
function queriesFrom(seed: number): string[] {
  const next = seededNumbers(seed);
  const below = (limit: number) => Math.floor(next() * limit);
  return Array.from({ length: QUERIES }, () => {
    const words = wordsOf(texts[below(texts.length)]!.text);
    return Array.from({ length: 2 + below(4) }, () => words[below(words.length)]).join(" ");
  });
}

async function checkRankings(seed: number): Promise<void> {
  const queries = queriesFrom(seed);
  const found = await search(queries);
  expect(found.length).toBe(QUERIES);
  found.forEach((hits, i) => {
    const scores = model.scores(queries[i]!);
    const best = [...scores.values()].sort((a, b) => b - a).slice(0, LIMIT);
    expect(hits.length, queries[i]).toBe(best.length);
    expect(new Set(hits.map(({ id }) => id)).size).toBe(hits.length);
    hits.forEach(({ id, distance }, rank) => {
      // The rank's score is the right one, and it is this text's: the same ranking, but for texts of equal scores.
      expect(Math.abs(distance - best[rank]!), `${queries[i]}, rank ${rank}`).toBeLessThan(PRECISION * best[rank]!);
      const own = scores.get(id as number) ?? 0;
      expect(Math.abs(distance - own), `${queries[i]}, text ${id}`).toBeLessThan(PRECISION * own);
    });
  });
}

test("rankings are those of BM25 over all texts, wherever they lie, whatever was deleted", async () => {
  await client.createCollection({
    collectionName: COLLECTION,
    schema: {
      fields: [
        { fieldName: "id", dataType: "Int64", isPrimary: true },
        { fieldName: "text", dataType: "VarChar", elementTypeParams: { max_length: 65_535, enable_analyzer: true } },
        { fieldName: "sparse", dataType: "SparseFloatVector" },
      ],
      functions: [{ name: "bm25", type: "BM25", inputFieldNames: ["text"], outputFieldNames: ["sparse"] }],
    },
    indexParams: [{ fieldName: "sparse", indexType: "AUTOINDEX", metricType: "BM25" }],
    params: { shardsNum: 2 },
  });
  for (const [from, to] of [
    [0, 900],
    [900, 1_600],
    [1_600, 2_200],
  ]) {
    await put(texts.slice(from, to));
    await client.flush({ collectionName: COLLECTION });
  }
  await put(texts.slice(2_200));
  await checkRankings(1);
  await expect.poll(() => cluster.placement().segments).toBeGreaterThan(0);

  // A tenth goes, here and there; some come again, with the texts of others.
  const gone = texts.filter(({ id }) => id % 10 === 3).map(({ id }) => id);
  await client.delete({ collectionName: COLLECTION, filter: `id in [${gone.join()}]` });
  for (const id of gone) model.delete(id);
  await put(texts.slice(0, 3_000 - 7).flatMap(({ id }) => (id % 50 === 8 ? [{ id, text: texts[id + 7]!.text }] : [])));
  await checkRankings(2);

  await client.flush({ collectionName: COLLECTION });
  await expect.poll(() => cluster.placement().heldBytes).toBe(0);
  await checkRankings(3);
  const index = await client.describeIndex({ collectionName: COLLECTION, indexName: "sparse" });
  expect(index).toMatchObject({ indexState: "Finished", pendingRows: 0 });

  // Rows that were deleted are gone from the segments then, and from what is taken off the statistics.
  await client.compact({ collectionName: COLLECTION });
  await checkRankings(5);

  await cluster.stopNode(cluster.nodes[0]!);
  await cluster.startNode(ROLES);
  client = VdbClient.inProcess(cluster.nodes[0]!.bus);
  await client.waitUntilLoaded({ collectionName: COLLECTION });
  await checkRankings(4);
});
