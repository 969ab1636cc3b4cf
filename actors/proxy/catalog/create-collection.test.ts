import { describe, expect, it } from "vitest";
import { parseBody } from "../parse-body.ts";
import { type CollectionRequest, CreateCollectionBody, collectionRequest } from "./create-collection.ts";

function requested(body: unknown): CollectionRequest {
  return collectionRequest(parseBody(CreateCollectionBody, body));
}

const ID = { fieldName: "id", dataType: "Int64", isPrimary: true };
const VEC = { fieldName: "vec", dataType: "FloatVector", elementTypeParams: { dim: 8 } };

function withFields(...fields: object[]): object {
  return { collectionName: "c", schema: { fields: [ID, VEC, ...fields] } };
}

function withField(field: object): object {
  return withFields({ fieldName: "x", ...field });
}

const HNSW = { fieldName: "vec", indexType: "HNSW", params: { M: 16, efConstruction: "200" } };

describe("refused create requests", () => {
  const cases: [string, unknown, number, string][] = [
    ["no name", {}, 1802, "collectionName is required"],
    ["a name that is a number", { collectionName: 5 }, 1801, "collectionName"],
    [
      "a name that begins with a digit",
      { collectionName: "1c", dimension: 8 },
      1100,
      "Invalid collection name: 1c. the first character of a collection name must be an underscore or letter",
    ],
    ["a name with a dash", { collectionName: "a-b", dimension: 8 }, 1100, "Invalid collection name: a-b."],
    [
      "a name that is too long",
      { collectionName: "c".repeat(256), dimension: 8 },
      1100,
      "the length of a collection name must be less than 255 characters",
    ],
    ["a dimension that is too small", { collectionName: "c", dimension: 1 }, 65535, "invalid dimension: 1"],
    ["a dimension that is too large", { collectionName: "c", dimension: 32_769 }, 65535, "invalid dimension: 32769"],
    [
      "a VarChar key without length",
      { collectionName: "c", dimension: 8, idType: "VarChar" },
      1100,
      "type param(max_length) should be specified for the field(id)",
    ],
    [
      "a key of another type",
      { collectionName: "c", dimension: 8, idType: "Float" },
      1100,
      "the data type of primary key should be Int64 or VarChar",
    ],
    [
      "an unknown metric",
      { collectionName: "c", dimension: 8, metricType: "HAMMING" },
      1100,
      "float vector index does not support metric type: HAMMING",
    ],
    ["too many shards", { collectionName: "c", dimension: 8, params: { shardsNum: 17 } }, 1100, "limited to 16"],
    [
      "no shards",
      { collectionName: "c", dimension: 8, params: { shardsNum: 0 } },
      1100,
      "invalid params.shardsNum: maximum shards's number should be limited to 16, expected a whole number in [1, 16], got number 0",
    ],
    [
      "shards that are no number",
      { collectionName: "c", dimension: 8, params: { shardsNum: "many" } },
      1100,
      'in [1, 16], got string "many"',
    ],
    [
      "an unknown consistency level",
      { collectionName: "c", dimension: 8, params: { consistencyLevel: "strong" } },
      1100,
      "consistencyLevel can only be one of",
    ],
    [
      "a time to live beyond a hundred years",
      { collectionName: "c", dimension: 8, params: { ttlSeconds: 3_155_760_001 } },
      1100,
      "collection.ttl.seconds must be a whole number in [-1, 3155760000], got 3155760001",
    ],
    [
      "functions",
      { collectionName: "c", dimension: 8, schema: { functions: [{}] } },
      1100,
      "functions are not supported for quickly create collection",
    ],
    [
      "a property that is not there",
      { collectionName: "c", dimension: 8, properties: { "mmap.enable": true } },
      1100,
      "property mmap.enable is not supported",
    ],
    [
      "a switch that is no truth value",
      { collectionName: "c", dimension: 8, properties: { "collection.autocompaction.enabled": "no" } },
      1100,
      "collection.autocompaction.enabled must be true or false, got no",
    ],
    ["no primary field", { collectionName: "c", schema: { fields: [VEC] } }, 1100, "primary key is not specified"],
    [
      "two primary fields",
      withField({ dataType: "Int64", isPrimary: true }),
      1100,
      "there are more than one primary key",
    ],
    [
      "no vector field",
      { collectionName: "c", schema: { fields: [ID] } },
      1100,
      "schema does not contain vector field",
    ],
    [
      "five vector fields",
      withFields(...[1, 2, 3, 4].map((n) => ({ ...VEC, fieldName: `v${n}` }))),
      65535,
      "maximum vector field",
    ],
    [
      "65 fields",
      withFields(...Array.from({ length: 63 }, (_, n) => ({ fieldName: `f${n}`, dataType: "Bool" }))),
      65535,
      "maximum field",
    ],
    [
      "a field name twice",
      withFields({ fieldName: "a", dataType: "Bool" }, { fieldName: "a", dataType: "Int8" }),
      1100,
      "duplicated field name a",
    ],
    ["a field name with a blank", withFields({ fieldName: "a b", dataType: "Bool" }), 1701, "Invalid field name: a b"],
    [
      "the reserved field name $meta",
      withFields({ fieldName: "$meta", dataType: "JSON" }),
      1701,
      "Invalid field name: $meta",
    ],
    [
      "a keyword of filters as a field name",
      withFields({ fieldName: "like", dataType: "Bool" }),
      1701,
      "Invalid field name: like",
    ],
    ["a field without name", withFields({ dataType: "Bool" }), 1802, "schema.fields.2.fieldName is required"],
    ["an unknown type", withField({ dataType: "int64" }), 1100, "data type int64 is invalid(case sensitive)."],
    [
      "the type String",
      withField({ dataType: "String" }),
      1100,
      "string data type not supported yet, please use VarChar type instead",
    ],
    ["a long text", withField({ dataType: "Text" }), 1100, "data type Text is not supported yet"],
    [
      "a binary vector of bits that are no whole bytes",
      withField({ dataType: "BinaryVector", elementTypeParams: { dim: 12 } }),
      65535,
      "binary vector dimension should be multiple of 8",
    ],
    [
      "a binary vector that is too long",
      withField({ dataType: "BinaryVector", elementTypeParams: { dim: 262_152 } }),
      65535,
      "invalid dimension: 262152 of field x. should be in range 2 ~ 262144",
    ],
    [
      "a half vector that is too long",
      withField({ dataType: "BFloat16Vector", elementTypeParams: { dim: 32_769 } }),
      65535,
      "invalid dimension: 32769",
    ],
    [
      "a sparse vector with a dimension",
      withField({ dataType: "SparseFloatVector", elementTypeParams: { dim: 8 } }),
      65535,
      "dim should not be specified for sparse vector field x",
    ],
    [
      "a default that is no time",
      withField({ dataType: "Timestamptz", defaultValue: "yesterday" }),
      1100,
      "default value of field x: got invalid timestamptz string: yesterday",
    ],
    [
      "a match without an analyzer",
      withField({ dataType: "VarChar", elementTypeParams: { max_length: 9, enable_match: true } }),
      1100,
      "field x is set to enable match but not enable analyzer",
    ],
    [
      "analyzer parameters that are no JSON",
      withField({
        dataType: "VarChar",
        elementTypeParams: { max_length: 9, enable_analyzer: "true", analyzer_params: "{" },
      }),
      1100,
      "type param(analyzer_params) of field(x) is not valid JSON",
    ],
    [
      "analyzer parameters of an unknown analyzer",
      withField({
        dataType: "VarChar",
        elementTypeParams: { max_length: 9, enable_analyzer: true, analyzer_params: { type: "klingon" } },
      }),
      1100,
      "klingon",
    ],
    [
      "an analyzer by a field that is not there",
      withField({
        dataType: "VarChar",
        elementTypeParams: {
          max_length: 9,
          enable_analyzer: true,
          multi_analyzer_params: { by_field: "lang", analyzers: { default: {} } },
        },
      }),
      1100,
      "by_field lang is no VarChar field",
    ],
    ["a struct array", withField({ dataType: "ArrayOfStruct" }), 1100, "data type ArrayOfStruct is not supported yet"],
    ["a vector without dimension", withField({ dataType: "FloatVector" }), 65535, "dimension is not defined"],
    [
      "a VarChar without length",
      withField({ dataType: "VarChar" }),
      1100,
      "type param(max_length) should be specified for the field(x)",
    ],
    [
      "a VarChar that is too long",
      withField({ dataType: "VarChar", elementTypeParams: { max_length: 65_536 } }),
      1100,
      "should be in (0, 65535]",
    ],
    [
      "a VarChar of no length",
      withField({ dataType: "VarChar", elementTypeParams: { max_length: "0" } }),
      1100,
      "should be in (0, 65535]",
    ],
    [
      "an array without element type",
      withField({ dataType: "Array", elementTypeParams: { max_capacity: 5 } }),
      1100,
      "element data type should be specified",
    ],
    [
      "an array of JSON",
      withField({ dataType: "Array", elementDataType: "JSON", elementTypeParams: { max_capacity: 5 } }),
      1100,
      "element type JSON is not supported",
    ],
    [
      "an array without capacity",
      withField({ dataType: "Array", elementDataType: "Int8" }),
      1100,
      "type param(max_capacity) should be specified for the field(x)",
    ],
    [
      "an array that is too long",
      withField({ dataType: "Array", elementDataType: "Int8", elementTypeParams: { max_capacity: 4097 } }),
      1100,
      "the maximum capacity specified for a Array should be in (0, 4096]",
    ],
    [
      "an array of texts without length",
      withField({ dataType: "Array", elementDataType: "VarChar", elementTypeParams: { max_capacity: 5 } }),
      1100,
      "type param(max_length)",
    ],
    [
      "a nullable key",
      { collectionName: "c", schema: { fields: [{ ...ID, nullable: true }, VEC] } },
      1100,
      "primary field not support null",
    ],
    [
      "a key with a default",
      { collectionName: "c", schema: { fields: [{ ...ID, defaultValue: 5 }, VEC] } },
      1100,
      "primary field not support default_value",
    ],
    [
      "a JSON default",
      withField({ dataType: "JSON", defaultValue: {} }),
      1100,
      "type not support default_value, type:JSON",
    ],
    ["a default of another type", withField({ dataType: "Int8", defaultValue: "a" }), 1100, "default value of field x"],
    ["a default out of range", withField({ dataType: "Int8", defaultValue: 300 }), 1100, "out of range: [-128, 127]"],
    [
      "a partition key of another type",
      withField({ dataType: "Int32", isPartitionKey: true }),
      1100,
      "the data type of partition key should be Int64 or VarChar",
    ],
    [
      "a nullable partition key",
      withField({ dataType: "Int64", isPartitionKey: true, nullable: true }),
      1100,
      "partition key field not support nullable: x",
    ],
    [
      "two partition keys",
      withFields(...["a", "b"].map((fieldName) => ({ fieldName, dataType: "Int64", isPartitionKey: true }))),
      1100,
      "there are more than one partition key, field name = a, b",
    ],
    [
      "a primary field as partition key",
      { collectionName: "c", schema: { fields: [{ ...ID, isPartitionKey: true }, VEC] } },
      1100,
      "the partition key field must not be primary field",
    ],
    [
      "a clustering key of another type",
      withField({ dataType: "Bool", isClusteringKey: true }),
      1100,
      "clustering key field x can not be of type Bool",
    ],
    [
      "two clustering keys",
      withFields(...["a", "b"].map((fieldName) => ({ fieldName, dataType: "Int64", isClusteringKey: true }))),
      1100,
      "there are more than one clustering key",
    ],
    [
      "an index of an unknown field",
      { ...withFields(), indexParams: [{ fieldName: "nope" }] },
      1802,
      "`nope` hasn't defined in schema",
    ],
    [
      "a vector's index of a scalar field",
      { ...withFields(), indexParams: [{ fieldName: "id", indexType: "HNSW" }] },
      1100,
      "invalid parameter[expected=valid index][actual=invalid index type: HNSW]",
    ],
    [
      "an unknown index type",
      { ...withFields(), indexParams: [{ ...HNSW, indexType: "GPU_CAGRA" }] },
      701,
      "GPU_CAGRA",
    ],
    [
      "an index parameter out of range",
      { ...withFields(), indexParams: [{ ...HNSW, params: { M: 1 } }] },
      1100,
      "parameter M",
    ],
    [
      "two indexes of a field",
      { ...withFields(), indexParams: [HNSW, HNSW] },
      65535,
      "creating multiple indexes on same field is not supported",
    ],
    [
      "an index name with a blank",
      { ...withFields(), indexParams: [{ ...HNSW, indexName: "a b" }] },
      1100,
      "Invalid index name: a b",
    ],
    [
      "autoID of a field that is no key",
      withField({ dataType: "Int64", autoID: true }),
      1100,
      "only primary field can speficy AutoID with true",
    ],
  ];
  it.each(cases)("%s", (_, body, code, words) => {
    expect(() => requested(body)).toThrowError(
      expect.objectContaining({ code, message: expect.stringContaining(words) }) as Error,
    );
  });

  it("neither fields nor dimension", () => {
    expect(() => requested({ collectionName: "c" })).toThrowError(
      expect.objectContaining({ code: 1802, message: expect.stringContaining("dimension is required") }) as Error,
    );
  });
});

describe("quick set-up", () => {
  it("has Milvus's defaults", () => {
    expect(requested({ collectionName: "c", dimension: 8 })).toEqual({
      name: "c",
      description: "",
      fields: [
        { name: "id", type: "Int64", description: "", isPrimary: true, nullable: false, isDynamic: false },
        {
          name: "vector",
          type: "FloatVector",
          description: "",
          isPrimary: false,
          nullable: false,
          isDynamic: false,
          dimension: 8,
        },
        {
          name: "$meta",
          type: "JSON",
          description: "dynamic schema",
          isPrimary: false,
          nullable: false,
          isDynamic: true,
        },
      ],
      autoId: false,
      enableDynamicField: true,
      properties: {},
      shardCount: 1,
      consistencyLevel: "Bounded",
      indexes: [{ name: "vector", fieldName: "vector", type: "AUTOINDEX", metric: "COSINE", params: {} }],
    });
  });

  it("takes names, metric, key type and params", () => {
    const request = requested({
      collectionName: "c",
      dimension: "16",
      idType: "VarChar",
      autoID: true,
      metricType: "L2",
      primaryFieldName: "key",
      vectorFieldName: "v",
      params: { max_length: "64", shardsNum: 2, consistencyLevel: "Strong", enableDynamicField: false },
    });
    expect(request.fields).toMatchObject([
      { name: "key", type: "VarChar", maxLength: 64 },
      { name: "v", dimension: 16 },
    ]);
    expect(request).toMatchObject({
      autoId: true,
      enableDynamicField: false,
      shardCount: 2,
      consistencyLevel: "Strong",
    });
    expect(request.indexes).toMatchObject([{ name: "v", metric: "L2" }]);
  });
});

describe("properties", () => {
  it.each([
    [{ params: { ttlSeconds: 60 } }, { "collection.ttl.seconds": "60" }],
    [{ params: { ttlSeconds: "0" } }, { "collection.ttl.seconds": "0" }],
    [{ properties: { "collection.ttl.seconds": "-1" } }, { "collection.ttl.seconds": "-1" }],
    [{ properties: { "collection.ttl.seconds": 3_155_760_000 } }, { "collection.ttl.seconds": "3155760000" }],
    [{ params: { ttlSeconds: 1 }, properties: { "collection.ttl.seconds": 2 } }, { "collection.ttl.seconds": "2" }],
    [{ properties: { "collection.autocompaction.enabled": false } }, { "collection.autocompaction.enabled": "false" }],
  ])("%j are kept as text", (given, properties) => {
    expect(requested({ collectionName: "c", dimension: 8, ...given }).properties).toEqual(properties);
  });
});

describe("schema mode", () => {
  it("takes every field type with its parameters", () => {
    const { fields } = requested(
      withFields(
        { fieldName: "a", dataType: "VarChar", nullable: true, elementTypeParams: { max_length: "256" } },
        {
          fieldName: "b",
          dataType: "Array",
          elementDataType: "VarChar",
          elementTypeParams: { max_length: 9, max_capacity: "100" },
        },
        { fieldName: "c", dataType: "JSON", nullable: true },
        { fieldName: "d", dataType: "Int64", defaultValue: "9007199254740993" },
        { fieldName: "e", dataType: "Double", defaultValue: 1.5 },
      ),
    );
    expect(fields.slice(2)).toMatchObject([
      { name: "a", type: "VarChar", nullable: true, maxLength: 256 },
      { name: "b", type: "Array", elementType: "VarChar", maxLength: 9, maxCapacity: 100 },
      { name: "c", type: "JSON", nullable: true },
      { name: "d", type: "Int64", defaultValue: 9007199254740993n },
      { name: "e", type: "Double", defaultValue: 1.5 },
    ]);
  });

  it("makes no index unless asked, and keeps no dynamic field", () => {
    const request = requested(withFields());
    expect(request.indexes).toEqual([]);
    expect(request.enableDynamicField).toBe(false);
    expect(request.fields.map(({ name }) => name)).toEqual(["id", "vec"]);
  });

  it("keeps index parameters as they were given, type and metric taken from among them", () => {
    const { indexes } = requested({
      ...withFields(),
      indexParams: [{ fieldName: "vec", params: { index_type: "HNSW", metric_type: "IP", M: "16" } }],
    });
    expect(indexes).toEqual([{ name: "vec", fieldName: "vec", type: "HNSW", metric: "IP", params: { M: "16" } }]);
  });

  it("takes autoID from the schema or from the primary field", () => {
    expect(requested({ collectionName: "c", schema: { autoID: true, fields: [ID, VEC] } }).autoId).toBe(true);
    expect(requested({ collectionName: "c", schema: { fields: [{ ...ID, autoID: true }, VEC] } }).autoId).toBe(true);
    expect(requested(withFields()).autoId).toBe(false);
  });

  it("ignores keys that it does not know, and nulls", () => {
    expect(requested({ ...withFields(), nonsense: 1, description: null, indexParams: null }).name).toBe("c");
  });
});
