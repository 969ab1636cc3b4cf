/**
 * `npx tsx scripts/examples/hybrid-search.ts [address]`: what things mean (dense vectors) and which words they have (sparse vectors,
 * made by the database), in one search that makes one list of both.
 */
import { DataType, FunctionType, type MilvusClient } from "@zilliz/milvus2-sdk-node";
import { done, runIfMain, type Say } from "./example.ts";

const collection_name = "hybrid_search";

/** `meaning` would come from a model: here it says how much of food and of travel there is. */
const NOTES = [
  { id: 1, text: "how to bake bread with rye", meaning: [1.0, 0.0] },
  { id: 2, text: "a train along the coast", meaning: [0.0, 1.0] },
  { id: 3, text: "the best soups of the coast", meaning: [0.8, 0.5] },
  { id: 4, text: "pasta for two", meaning: [0.9, 0.2] },
  { id: 5, text: "a bus timetable", meaning: [0.1, 0.9] },
];

export async function hybridSearch(client: MilvusClient, say: Say) {
  await done(client.dropCollection({ collection_name }));
  await done(
    client.createCollection({
      collection_name,
      fields: [
        { name: "id", data_type: DataType.Int64, is_primary_key: true },
        { name: "text", data_type: DataType.VarChar, max_length: 1000, enable_analyzer: true },
        { name: "words", data_type: DataType.SparseFloatVector },
        { name: "meaning", data_type: DataType.FloatVector, dim: 2 },
      ],
      functions: [
        {
          name: "bm25",
          type: FunctionType.BM25,
          input_field_names: ["text"],
          output_field_names: ["words"],
          params: {},
        },
      ],
      index_params: [
        { field_name: "words", index_type: "SPARSE_INVERTED_INDEX", metric_type: "BM25" },
        { field_name: "meaning", index_type: "AUTOINDEX", metric_type: "COSINE" },
      ],
      consistency_level: "Strong",
    }),
  );
  await done(client.insert({ collection_name, data: NOTES }));

  const byMeaning = { anns_field: "meaning", data: [1, 0.1], limit: 5 };
  const byWords = { anns_field: "words", data: "coast", limit: 5 };
  const search = async (name: string, request: object) => {
    const asked = { collection_name, limit: 3, output_fields: ["text"], ...request };
    const { results } = await done(client.search(asked as Parameters<MilvusClient["search"]>[0]));
    const texts = results.map(({ text }) => String(text));
    say(`${name}: ${texts.join("; ")}`);
    return texts;
  };
  const meaning = await search("about food", { ...byMeaning, limit: 3 });
  const words = await search('with the word "coast"', { ...byWords, limit: 3 });
  const data = [byMeaning, byWords];
  const ranked = await search("both, by rank", { data, rerank: { strategy: "rrf", params: { k: 60 } } });
  const weights = { strategy: "weighted", params: { weights: [0.7, 0.3] } };
  const weighted = await search("both, meaning first", { data, rerank: weights });

  await done(client.dropCollection({ collection_name }));
  return { meaning, words, ranked, weighted };
}

await runIfMain(import.meta.url, hybridSearch);
