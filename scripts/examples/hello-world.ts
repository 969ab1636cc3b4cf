/**
 * `npx tsx scripts/examples/hello-world.ts [address]`: a collection of books; the nearest to a vector, with and without a filter;
 * rows by what they are; a row taken away.
 */
import { DataType, type MilvusClient } from "@zilliz/milvus2-sdk-node";
import { done, runIfMain, type Say } from "./example.ts";

const collection_name = "hello_world";

/** Vectors of a model would have hundreds of numbers: these say how much each book has of sea, love and space. */
const BOOKS = [
  { id: 1, title: "Moby Dick", year: 1851, embedding: [0.9, 0.1, 0.0] },
  { id: 2, title: "Emma", year: 1815, embedding: [0.0, 1.0, 0.0] },
  { id: 3, title: "Dune", year: 1965, embedding: [0.0, 0.3, 0.9] },
  { id: 4, title: "Solaris", year: 1961, embedding: [0.4, 0.4, 0.9] },
  { id: 5, title: "The Old Man and the Sea", year: 1952, embedding: [1.0, 0.2, 0.0] },
];

export async function helloWorld(client: MilvusClient, say: Say) {
  await done(client.dropCollection({ collection_name }));
  await done(
    client.createCollection({
      collection_name,
      fields: [
        { name: "id", data_type: DataType.Int64, is_primary_key: true },
        { name: "title", data_type: DataType.VarChar, max_length: 200 },
        { name: "year", data_type: DataType.Int32 },
        { name: "embedding", data_type: DataType.FloatVector, dim: 3 },
      ],
      index_params: [{ field_name: "embedding", index_type: "HNSW", metric_type: "COSINE" }],
      consistency_level: "Strong",
    }),
  );
  const { insert_cnt } = await done(client.insert({ collection_name, data: BOOKS }));
  say(`${insert_cnt} books are in ${collection_name}`);

  const ofTheSea = { collection_name, data: [1, 0, 0], limit: 2, output_fields: ["title"] };
  const { results } = await done(client.search(ofTheSea));
  const nearest = results.map(({ title }) => String(title));
  say(`of the sea: ${nearest.join(", ")}`);

  const recent = await done(client.search({ ...ofTheSea, filter: "year > 1900" }));
  const nearestRecent = recent.results.map(({ title }) => String(title));
  say(`of the sea, after 1900: ${nearestRecent.join(", ")}`);

  await done(client.delete({ collection_name, filter: 'title == "Emma"' }));
  const { data } = await done(client.query({ collection_name, filter: "year < 1900", output_fields: ["title"] }));
  const old = data.map(({ title }) => String(title));
  say(`before 1900, without Emma: ${old.join(", ")}`);

  await done(client.dropCollection({ collection_name }));
  return { nearest, nearestRecent, old };
}

await runIfMain(import.meta.url, helloWorld);
