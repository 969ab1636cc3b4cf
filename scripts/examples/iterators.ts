/** `npx tsx scripts/examples/iterators.ts [address]`: all rows that match, and the nearest rows far beyond one search, batch by batch. */
import { DataType, type MilvusClient } from "@zilliz/milvus2-sdk-node";
import { done, runIfMain, type Say } from "./example.ts";

const collection_name = "iterators";
const ROWS = 1000;

export async function iterators(client: MilvusClient, say: Say) {
  await done(client.dropCollection({ collection_name }));
  await done(
    client.createCollection({
      collection_name,
      fields: [
        { name: "id", data_type: DataType.Int64, is_primary_key: true },
        { name: "embedding", data_type: DataType.FloatVector, dim: 2 },
      ],
      index_params: [{ field_name: "embedding", index_type: "AUTOINDEX", metric_type: "L2" }],
      consistency_level: "Strong",
    }),
  );
  const data = Array.from({ length: ROWS }, (_, id) => ({ id, embedding: [id, 0] }));
  await done(client.insert({ collection_name, data }));

  const queried: number[] = [];
  const rows = await client.queryIterator({
    collection_name,
    filter: "id % 2 == 0",
    batchSize: 200,
    output_fields: ["id"],
  });
  for await (const batch of rows) {
    const ids = (batch as { id: string }[]).map(({ id }) => Number(id));
    say(`query: ${ids.length} rows, ${ids[0]} to ${ids.at(-1)}`);
    queried.push(...ids);
  }

  const searched: number[] = [];
  const hits = await client.searchIterator({ collection_name, data: [0, 0], batchSize: 150, limit: 500 });
  for await (const batch of hits) {
    const ids = (batch as { id: string }[]).map(({ id }) => Number(id));
    say(`search: ${ids.length} hits, ${ids[0]} to ${ids.at(-1)}`);
    searched.push(...ids);
  }

  await done(client.dropCollection({ collection_name }));
  return { queried, searched };
}

await runIfMain(import.meta.url, iterators);
