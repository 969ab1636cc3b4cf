/**
 * The numbers of fields and enums that the column codecs meet for every column or row, as constants. Everything else
 * goes by the published definitions; a test checks these constants against them.
 */
import type { FieldType } from "../../../../runtime/schema.ts";

/** schema.DataType by the name that a field's type has here. */
export const DATA_TYPES: Readonly<Record<FieldType, number>> = {
  Bool: 1,
  Int8: 2,
  Int16: 3,
  Int32: 4,
  Int64: 5,
  Float: 10,
  Double: 11,
  VarChar: 21,
  Array: 22,
  JSON: 23,
  Geometry: 24,
  Timestamptz: 26,
  BinaryVector: 100,
  FloatVector: 101,
  Float16Vector: 102,
  BFloat16Vector: 103,
  SparseFloatVector: 104,
  Int8Vector: 105,
};

/** Fields of messages, by message and camelCase name. */
export const FIELDS = {
  FieldData: {
    type: 1,
    fieldName: 2,
    scalars: 3,
    vectors: 4,
    fieldId: 5,
    isDynamic: 6,
    validData: 7,
    structArrays: 8,
  },
  ScalarField: {
    boolData: 1,
    intData: 2,
    longData: 3,
    floatData: 4,
    doubleData: 5,
    stringData: 6,
    arrayData: 8,
    jsonData: 9,
    timestamptzData: 11,
    geometryWktData: 12,
  },
  /** Of every list of values: BoolArray, IntArray, LongArray, FloatArray, DoubleArray, StringArray, JSONArray, ArrayArray. */
  List: { data: 1 },
  ArrayArray: { data: 1, elementType: 2 },
  VectorField: {
    dim: 1,
    floatVector: 2,
    binaryVector: 3,
    float16Vector: 4,
    bfloat16Vector: 5,
    sparseFloatVector: 6,
    int8Vector: 7,
  },
  SparseFloatArray: { contents: 1, dim: 2 },
  IDs: { intId: 1, strId: 2 },
  PlaceholderGroup: { placeholders: 1 },
  PlaceholderValue: { type: 2, values: 3 },
  SearchResultData: {
    numQueries: 1,
    topK: 2,
    fieldsData: 3,
    scores: 4,
    ids: 5,
    topks: 6,
    outputFields: 7,
    groupByFieldValue: 8,
    allSearchCount: 9,
    searchIteratorV2Results: 11,
    primaryFieldName: 13,
    highlightResults: 14,
  },
  SearchIteratorV2Results: { token: 1, lastBound: 2 },
  HighlightResult: { fieldName: 1, datas: 2 },
  HighlightData: { fragments: 1 },
  SearchResults: { status: 1, results: 2, collectionName: 3, sessionTs: 4 },
  QueryResults: { status: 1, fieldsData: 2, collectionName: 3, outputFields: 4, sessionTs: 5, primaryFieldName: 6 },
  MutationResult: {
    status: 1,
    IDs: 2,
    succIndex: 3,
    acknowledged: 5,
    insertCnt: 6,
    deleteCnt: 7,
    upsertCnt: 8,
    timestamp: 9,
  },
  InsertRequest: {
    dbName: 2,
    collectionName: 3,
    partitionName: 4,
    fieldsData: 5,
    numRows: 7,
    schemaTimestamp: 8,
    namespace: 9,
  },
  UpsertRequest: {
    dbName: 2,
    collectionName: 3,
    partitionName: 4,
    fieldsData: 5,
    numRows: 7,
    schemaTimestamp: 8,
    partialUpdate: 9,
    namespace: 10,
    fieldOps: 11,
  },
  FieldPartialUpdateOp: { fieldName: 1, op: 2 },
  DeleteRequest: {
    dbName: 2,
    collectionName: 3,
    partitionName: 4,
    expr: 5,
    consistencyLevel: 7,
    exprTemplateValues: 8,
  },
  SearchRequest: {
    dbName: 2,
    collectionName: 3,
    partitionNames: 4,
    dsl: 5,
    placeholderGroup: 6,
    outputFields: 8,
    searchParams: 9,
    guaranteeTimestamp: 11,
    consistencyLevel: 14,
    useDefaultConsistency: 15,
    exprTemplateValues: 18,
    functionScore: 19,
    namespace: 20,
    highlighter: 21,
    ids: 22,
  },
  HybridSearchRequest: {
    dbName: 2,
    collectionName: 3,
    partitionNames: 4,
    requests: 5,
    rankParams: 6,
    guaranteeTimestamp: 8,
    outputFields: 10,
    consistencyLevel: 11,
    useDefaultConsistency: 12,
    functionScore: 13,
    namespace: 14,
  },
  QueryRequest: {
    dbName: 2,
    collectionName: 3,
    expr: 4,
    outputFields: 5,
    partitionNames: 6,
    guaranteeTimestamp: 8,
    queryParams: 9,
    consistencyLevel: 11,
    useDefaultConsistency: 12,
    exprTemplateValues: 13,
    namespace: 14,
  },
  KeyValuePair: { key: 1, value: 2 },
  TemplateValue: { boolVal: 1, int64Val: 2, floatVal: 3, stringVal: 4, arrayVal: 5 },
  TemplateArrayValue: { boolData: 1, longData: 2, doubleData: 3, stringData: 4, arrayData: 5, jsonData: 6 },
  TemplateArrayValueArray: { data: 1 },
  FunctionScore: { functions: 1, params: 2 },
  FunctionSchema: { name: 1, type: 4, inputFieldNames: 5, outputFieldNames: 7, params: 9 },
  Highlighter: { type: 1, params: 2 },
} as const;

/** By number, as in common.ConsistencyLevel. */
export const CONSISTENCY_LEVELS = ["Strong", "Session", "Bounded", "Eventually", "Customized"] as const;

/** Of common.PlaceholderType: vectors have the number of their type. */
export const PLACEHOLDER_TEXT = 21;

/** Types of the wire format. */
export const VARINT = 0;
export const FIXED64 = 1;
export const LENGTH = 2;
export const FIXED32 = 5;
