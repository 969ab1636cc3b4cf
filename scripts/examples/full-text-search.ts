/**
 * `npx tsx scripts/examples/full-text-search.ts [address]`: texts go in, words are searched for. The database makes the sparse vectors
 * (BM25) by itself, and shows where it found the words.
 */
import { DataType, FunctionType, type MilvusClient } from "@zilliz/milvus2-sdk-node";
import { done, runIfMain, type Say } from "./example.ts";

const collection_name = "full_text_search";

const TEXTS = [
  "The whale swam around the ship for three days.",
  "A ship needs a harbour, and a sailor needs a ship.",
  "Whales sing; the songs of whales travel for miles.",
  "In the desert nobody sings of harbours.",
];

export async function fullTextSearch(client: MilvusClient, say: Say) {
  await done(client.dropCollection({ collection_name }));
  await done(
    client.createCollection({
      collection_name,
      fields: [
        { name: "id", data_type: DataType.Int64, is_primary_key: true, autoID: true },
        {
          name: "text",
          data_type: DataType.VarChar,
          max_length: 1000,
          enable_analyzer: true,
          enable_match: true,
          analyzer_params: { type: "english" },
        },
        { name: "words", data_type: DataType.SparseFloatVector },
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
      index_params: [{ field_name: "words", index_type: "SPARSE_INVERTED_INDEX", metric_type: "BM25" }],
      consistency_level: "Strong",
    }),
  );
  await done(client.insert({ collection_name, data: TEXTS.map((text) => ({ text })) }));

  const find = async (words: string, filter = "") => {
    const request = { collection_name, anns_field: "words", data: words, limit: 3, filter, output_fields: ["text"] };
    const { results } = await done(client.search(request));
    const texts = results.map(({ text }) => String(text));
    say(`"${words}"${filter && ` where ${filter}`}:`);
    for (const text of texts) say(`  ${text}`);
    return texts;
  };
  // The analyzer knows that whale and whales, sing and sings are one word.
  const found = await find("singing whale");
  const filtered = await find("ship", "TEXT_MATCH(text, 'sailors')");

  await done(client.dropCollection({ collection_name }));
  return { found, filtered };
}

await runIfMain(import.meta.url, fullTextSearch);
