/**
 * Ranges, groups, hybrid searches, boosts and iterators over random rows, sealed and growing, deleted and written over,
 * on three shards, against what looking at every row gives.
 */
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { VdbClient } from "../../client/client.ts";
import type { Hit, Row } from "../../client/types.ts";
import { ROLES } from "../../runtime/actor.ts";
import { startTestCluster, type TestCluster } from "../../runtime/testing/cluster.ts";
import { distanceOf } from "../../runtime/testing/exact-answers.ts";
import { seededNumbers } from "../../runtime/testing/vectors.ts";

const DIMENSION = 4;
const NAME = "things";
const STRONG = { consistencyLevel: "Strong" } as const;
const RUNS = { numRuns: 25, seed: 11 };

interface Item extends Row {
  id: number;
  shop: number | null;
  colour: string;
  size?: number;
  near: Float32Array;
  alike: Float32Array;
}

/** Of few places: many rows are as far as others. */
function itemsFrom(first: number, count: number, seed: number): Item[] {
  const next = seededNumbers(seed);
  const vector = (at: () => number) => Float32Array.from({ length: DIMENSION }, at);
  return Array.from({ length: count }, (_, i): Item => {
    const id = first + i;
    return {
      id,
      shop: next() < 0.1 ? null : Math.floor(next() * 12),
      colour: ["red", "green", "blue"][Math.floor(next() ** 3 * 3)]!,
      ...(next() < 0.2 ? {} : { size: Math.floor(next() * 5) }),
      near: vector(() => Math.floor(next() * 4)),
      alike: vector(() => next() - 0.5),
    };
  });
}

describe("against a look at every row", () => {
  let cluster: TestCluster;
  let client: VdbClient;
  const model = new Map<number, Item>();

  beforeAll(async () => {
    cluster = await startTestCluster([[...ROLES]], ["coordinator.indexRowsMin=50"]);
    client = VdbClient.inProcess(cluster.nodes[0]!.bus);
    await client.createCollection({
      collectionName: NAME,
      schema: {
        enableDynamicField: true,
        fields: [
          { fieldName: "id", dataType: "Int64", isPrimary: true },
          { fieldName: "shop", dataType: "Int32", nullable: true },
          { fieldName: "colour", dataType: "VarChar", elementTypeParams: { max_length: 8 } },
          { fieldName: "near", dataType: "FloatVector", elementTypeParams: { dim: DIMENSION } },
          { fieldName: "alike", dataType: "FloatVector", elementTypeParams: { dim: DIMENSION } },
        ],
      },
      indexParams: [
        { fieldName: "near", indexType: "FLAT", metricType: "L2" },
        { fieldName: "alike", indexType: "FLAT", metricType: "IP" },
      ],
      params: { shardsNum: 3 },
    });
    await write(itemsFrom(0, 300, 1));
    await client.flush({ collectionName: NAME });
    await remove(Array.from({ length: 40 }, (_, i) => i * 5));
    await write(itemsFrom(250, 100, 2), "upsert");
    await client.flush({ collectionName: NAME });
    await write(itemsFrom(350, 150, 3));
    await write(itemsFrom(100, 30, 4), "upsert");
    await remove([351, 352, 20, 21, 260]);
  });

  afterAll(async () => {
    await client?.close();
    await cluster?.[Symbol.asyncDispose]();
  });

  async function write(items: Item[], how: "insert" | "upsert" = "insert"): Promise<void> {
    await client[how]({ collectionName: NAME, data: items });
    for (const item of items) model.set(item.id, item);
  }

  async function remove(ids: number[]): Promise<void> {
    await client.delete({ collectionName: NAME, filter: `id in [${ids.join()}]` });
    for (const id of ids) model.delete(id);
  }

  type Field = "near" | "alike";
  const METRIC = { near: "L2", alike: "IP" } as const;

  /** All rows, best first, as the metric reports them in float32. */
  function ranked(field: Field, query: ArrayLike<number>, rows: Iterable<Item> = model.values()) {
    const sign = field === "near" ? 1 : -1;
    return Array.from(rows, (item) => ({ item, distance: distanceOf(METRIC[field], query, item[field]) })).sort(
      (a, b) => sign * (a.distance - b.distance) || a.item.id - b.item.id,
    );
  }

  const idsOf = (hits: readonly Hit[]) => hits.map(({ id }) => id);
  /** Those of `alike` make no two rows equally near. */
  const vectorOf = (field: Field): fc.Arbitrary<number[]> =>
    fc.integer({ min: 1, max: 100_000 }).map((seed) => {
      const next = seededNumbers(seed);
      return Array.from({ length: DIMENSION }, () => (field === "near" ? Math.floor(next() * 4) : next() - 0.5));
    });

  test("a range holds every row of its band", async () => {
    const bands = fc.tuple(vectorOf("near"), fc.integer({ min: 1, max: 20 }), fc.integer({ min: 0, max: 10 }));
    await fc.assert(
      fc.asyncProperty(bands, async ([query, radius, width]) => {
        const near = Math.max(0, radius - 1 - width);
        const params = { radius, range_filter: near };
        const search = { collectionName: NAME, annsField: "near", limit: 1_000, ...STRONG };
        const [hits] = await client.search({ ...search, data: query, searchParams: { params } });
        const wanted = ranked("near", query).filter(({ distance }) => distance >= near && distance < radius);
        expect(idsOf(hits!)).toEqual(wanted.map(({ item }) => item.id));
      }),
      RUNS,
    );
  });

  test("groups are the best ones, each with its best rows", async () => {
    const request = fc.record({
      query: vectorOf("alike"),
      field: fc.constantFrom("shop", "colour", "size"),
      groups: fc.integer({ min: 1, max: 8 }),
      offset: fc.integer({ min: 0, max: 2 }),
      size: fc.integer({ min: 1, max: 6 }),
      isStrict: fc.boolean(),
      isFiltered: fc.boolean(),
    });
    await fc.assert(
      fc.asyncProperty(request, async ({ query, field, groups, offset, size, isStrict, isFiltered }) => {
        const [hits] = await client.search({
          ...{ collectionName: NAME, annsField: "alike", data: query, limit: groups, offset, ...STRONG },
          ...{ groupingField: field, groupSize: size, strictGroupSize: isStrict },
          ...(isFiltered ? { filter: "id % 3 == 0" } : {}),
        });
        const rows = [...model.values()].filter(({ id }) => !isFiltered || id % 3 === 0);
        const wanted = new Map<unknown, number[]>();
        for (const { item } of ranked("alike", query, rows)) {
          const value = item[field] ?? null;
          const members = wanted.get(value) ?? [];
          wanted.set(value, members);
          if (members.length < size) members.push(item.id);
        }
        const page = [...wanted].slice(offset, offset + groups);
        const found = new Map<unknown, number[]>();
        for (const hit of hits!) {
          const members = found.get(hit.groupByFieldValue) ?? [];
          found.set(hit.groupByFieldValue, [...members, hit.id as number]);
        }
        if (isStrict) expect([...found]).toEqual(page);
        // Rows that were not met on the way to the groups may be missing.
        expect([...found.keys()]).toEqual(page.map(([value]) => value));
        for (const [value, members] of page) {
          expect(found.get(value)![0]).toBe(members[0]);
          expect(found.get(value)!.length).toBeLessThanOrEqual(size);
        }
      }),
      { ...RUNS, numRuns: 60 },
    );
  });

  test("a hybrid search fuses what its parts find", async () => {
    const request = fc.record({
      near: vectorOf("near"),
      alike: vectorOf("alike"),
      limits: fc.tuple(fc.integer({ min: 1, max: 60 }), fc.integer({ min: 1, max: 60 })),
      page: fc.record({ limit: fc.integer({ min: 1, max: 50 }), offset: fc.integer({ min: 0, max: 20 }) }),
      weights: fc.option(
        fc.tuple(fc.double({ min: 0, max: 1, noNaN: true }), fc.double({ min: 0, max: 1, noNaN: true })),
      ),
    });
    await fc.assert(
      fc.asyncProperty(request, async ({ near, alike, limits, page, weights }) => {
        const [hits] = await client.hybridSearch({
          collectionName: NAME,
          search: [
            { annsField: "near", data: near, limit: limits[0], params: { radius: 1_000 } },
            { annsField: "alike", data: alike, limit: limits[1], filter: 'colour != "blue"' },
          ],
          rerank:
            weights === null ? { strategy: "rrf", params: { k: 20 } } : { strategy: "weighted", params: { weights } },
          ...page,
          ...STRONG,
        });
        // Which of equally far rows are among a part's is open: their scores are compared, not they themselves.
        const scores = new Map<number, number>();
        const add = (id: number, score: number) => scores.set(id, (scores.get(id) ?? 0) + score);
        const nearest = ranked("near", near).slice(0, limits[0]);
        const isCut = ranked("near", near)[limits[0]]?.distance === nearest.at(-1)!.distance;
        nearest.forEach(({ item, distance }, rank) => {
          add(item.id, weights === null ? 1 / (21 + rank) : weights[0] * (1 - (2 * Math.atan(distance)) / Math.PI));
        });
        const coloured = [...model.values()].filter(({ colour }) => colour !== "blue");
        ranked("alike", alike, coloured)
          .slice(0, limits[1])
          .forEach(({ item, distance }, rank) => {
            add(item.id, weights === null ? 1 / (21 + rank) : weights[1] * distance);
          });
        const wanted = [...scores]
          .map(([id, score]) => ({ id, score: Math.fround(score) }))
          .sort((a, b) => b.score - a.score || a.id - b.id)
          .slice(page.offset, page.offset + page.limit);
        if (isCut) return;
        expect(hits!.map(({ distance }) => distance)).toEqual(wanted.map(({ score }) => expect.closeTo(score, 4)));
        if (weights === null) expect(idsOf(hits!)).toEqual(wanted.map(({ id }) => id));
      }),
      RUNS,
    );
  });

  test("a boost changes the scores of the rows that it means", async () => {
    const request = fc.tuple(vectorOf("alike"), fc.double({ min: 0.1, max: 9, noNaN: true }), fc.boolean());
    await fc.assert(
      fc.asyncProperty(request, async ([query, weight, isSum]) => {
        const [hits] = await client.search({
          ...{ collectionName: NAME, annsField: "alike", data: query, limit: 500, ...STRONG },
          functionScore: {
            functions: [{ params: { reranker: "boost", filter: 'colour == "blue" or size == 1', weight } }],
            params: { boost_mode: isSum ? "sum" : "multiply" },
          },
        });
        const wanted = ranked("alike", query)
          .map(({ item, distance }) => {
            const isMeant = item.colour === "blue" || item.size === 1;
            const boosted = isSum ? distance + weight : distance * weight;
            return { id: item.id, score: isMeant ? boosted : distance };
          })
          .sort((a, b) => b.score - a.score);
        expect(hits!.map(({ distance }) => distance)).toEqual(wanted.map(({ score }) => expect.closeTo(score, 4)));
      }),
      { ...RUNS, numRuns: 10 },
    );
  });

  test("an iterator brings every row of its instant once, whatever is written meanwhile", async () => {
    const query = [1, 1, 2, 0];
    const wanted = ranked("near", query);
    const found: Hit[] = [];
    let batches = 0;
    let next = 10_000;
    for await (const hits of client.searchIterator({
      ...{ collectionName: NAME, annsField: "near", data: query, batchSize: 40, outputFields: ["colour"], ...STRONG },
    })) {
      found.push(...hits);
      batches++;
      await write(itemsFrom(next, 20, next));
      next += 20;
      await remove([...model.keys()].slice(0, 5));
      await write(itemsFrom(300 + batches, 3, batches), "upsert");
      if (batches === 2) await client.flush({ collectionName: NAME });
    }
    expect(found.map(({ id, distance }) => ({ id, distance }))).toEqual(
      wanted.map(({ item, distance }) => ({ id: item.id, distance })),
    );
    expect(found.map(({ colour }) => colour)).toEqual(wanted.map(({ item }) => item.colour));
    expect(batches).toBeGreaterThan(4);
  });
});

test("an iterator goes on when another node has taken everything over", async () => {
  await using cluster = await startTestCluster([[...ROLES]]);
  const client = await VdbClient.connect({ servers: cluster.nats.url });
  try {
    await client.createCollection({
      collectionName: NAME,
      schema: {
        fields: [
          { fieldName: "id", dataType: "Int64", isPrimary: true },
          { fieldName: "near", dataType: "FloatVector", elementTypeParams: { dim: 2 } },
        ],
      },
      indexParams: [{ fieldName: "near", indexType: "FLAT", metricType: "L2" }],
      params: { shardsNum: 2 },
    });
    const rows = (first: number, count: number) =>
      Array.from({ length: count }, (_, i) => ({ id: first + i, near: [first + i, 0] }));
    await client.insert({ collectionName: NAME, data: rows(0, 60) });
    const found: unknown[] = [];
    let isFirst = true;
    for await (const hits of client.searchIterator({ collectionName: NAME, data: [0, 0], batchSize: 20 })) {
      found.push(...hits.map(({ id }) => id));
      if (!isFirst) continue;
      isFirst = false;
      const [old] = cluster.nodes;
      await cluster.startNode([...ROLES]);
      await cluster.stopNode(old!);
      await client.delete({ collectionName: NAME, filter: "id in [30, 50]" });
      await client.upsert({ collectionName: NAME, data: [{ id: 40, near: [900, 0] }, ...rows(1_000, 40)] });
    }
    expect(found).toEqual(Array.from({ length: 60 }, (_, id) => id));
  } finally {
    await client.close();
  }
});
