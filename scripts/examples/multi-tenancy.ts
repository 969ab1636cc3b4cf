/**
 * `npx tsx scripts/examples/multi-tenancy.ts [address]`: many tenants in one collection. The partition key says whose a row is; a search
 * that names a tenant looks into that tenant's partition alone, and finds nobody else's rows.
 */
import { DataType, type MilvusClient } from "@zilliz/milvus2-sdk-node";
import { done, runIfMain, type Say } from "./example.ts";

const collection_name = "multi_tenancy";
const TENANTS = ["acme", "globex", "initech"];
const ROWS_PER_TENANT = 100;

export async function multiTenancy(client: MilvusClient, say: Say) {
  await done(client.dropCollection({ collection_name }));
  await done(
    client.createCollection({
      collection_name,
      fields: [
        { name: "id", data_type: DataType.Int64, is_primary_key: true },
        { name: "tenant", data_type: DataType.VarChar, max_length: 50, is_partition_key: true },
        { name: "embedding", data_type: DataType.FloatVector, dim: 2 },
      ],
      num_partitions: 16,
      index_params: [{ field_name: "embedding", index_type: "AUTOINDEX", metric_type: "L2" }],
      consistency_level: "Strong",
    }),
  );
  const data = TENANTS.flatMap((tenant, n) =>
    Array.from({ length: ROWS_PER_TENANT }, (_, i) => ({ id: i * TENANTS.length + n, tenant, embedding: [i, n] })),
  );
  await done(client.insert({ collection_name, data }));
  say(`${data.length} rows of ${TENANTS.length} tenants`);

  const found: Record<string, number[]> = {};
  const counts: Record<string, number> = {};
  for (const tenant of TENANTS) {
    const mine = { filter: "tenant == {tenant}", exprValues: { tenant } };
    const { results } = await done(client.search({ collection_name, data: [7, 0], limit: 3, ...mine }));
    found[tenant] = results.map(({ id }) => Number(id));
    const counted = await done(client.count({ collection_name, expr: `tenant == "${tenant}"` }));
    counts[tenant] = counted.data;
    say(`${tenant}: ${counts[tenant]} rows, nearest ${found[tenant].join(", ")}`);
  }
  await done(client.delete({ collection_name, filter: `tenant == "${TENANTS[0]}"` }));
  const left = (await done(client.count({ collection_name }))).data;
  say(`${left} rows without ${TENANTS[0]}`);

  await done(client.dropCollection({ collection_name }));
  return { found, counts, left };
}

await runIfMain(import.meta.url, multiTenancy);
