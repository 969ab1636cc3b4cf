/** A collection of books for tests, by the SDK. */
import { ConsistencyLevelEnum, DataType, FunctionType, type MilvusClient } from "@zilliz/milvus2-sdk-node";
import { expect } from "vitest";

export const OK = { error_code: "Success", code: 0 };
export const books = "books";
export const strong = { consistency_level: ConsistencyLevelEnum.Strong };

export async function makeBooks(client: MilvusClient): Promise<void> {
  const fields = [
    { name: "id", data_type: DataType.Int64, is_primary_key: true },
    { name: "v", data_type: DataType.FloatVector, dim: 2 },
    { name: "w", data_type: DataType.FloatVector, dim: 2 },
    { name: "shelf", data_type: DataType.Int32 },
    { name: "about", data_type: DataType.VarChar, max_length: 100, enable_analyzer: true },
    { name: "words", data_type: DataType.SparseFloatVector },
  ];
  const bm25 = { name: "bm25", type: FunctionType.BM25, input_field_names: ["about"], output_field_names: ["words"] };
  await make(client, books, fields, { v: "L2", w: "COSINE", words: "BM25" }, [{ ...bm25, params: {} }]);
  const data = Array.from({ length: 30 }, (_, id) => ({
    ...{ id, v: [id, 0], w: [1, id], shelf: id % 3, about: `volume ${id} of ${id % 2 === 0 ? "whales" : "ships"}` },
  }));
  expect(await client.insert({ collection_name: books, data })).toMatchObject({ status: OK, insert_cnt: "30" });
}

/** With an index on each field that has a metric here, and loaded. */
export async function make(
  client: MilvusClient,
  collection_name: string,
  fields: object[],
  metrics: Record<string, string>,
  functions: object[] = [],
): Promise<void> {
  const request = { collection_name, fields, functions, enable_dynamic_field: true, ...strong };
  expect(await client.createCollection(request as never)).toMatchObject(OK);
  for (const [field_name, metric_type] of Object.entries(metrics)) {
    const index_type = field_name === "sparse" || field_name === "words" ? "SPARSE_INVERTED_INDEX" : "AUTOINDEX";
    const index = { collection_name, field_name, index_name: field_name, index_type, metric_type };
    expect(await client.createIndex(index as never)).toMatchObject(OK);
  }
  expect(await client.loadCollectionSync({ collection_name })).toMatchObject(OK);
}
