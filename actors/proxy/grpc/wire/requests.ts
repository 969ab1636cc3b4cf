/** The requests of the entity RPCs, read field by field: no object for a value of a column or a key. */
import { VdbError } from "../../../../runtime/errors.ts";
import type { GivenColumn } from "../../../../runtime/rows/given-columns.ts";
import type { Steps } from "../../../../runtime/steps.ts";
import { FIELDS, LENGTH } from "./numbers.ts";
import { readFieldData } from "./read-columns.ts";
import { type Queries, readIds, readPair, readPlaceholders, readTemplate } from "./read-values.ts";
import {
  decodeWith,
  enter,
  type Reader,
  readBytes,
  readFields,
  readFieldsInSteps,
  readFlag,
  readInteger,
  readText,
  readUint64,
} from "./reader.ts";

/** Of a request, names and parameters among them: a partition's name or a dynamic key each, by the thousand at most. */
const FIELDS_MAX = 65_536;
/** Columns of a write. A collection has fewer fields, but what is wrong with a few more is said by name. */
const COLUMNS_MAX = 128;
/** Of a hybrid search, as in Milvus. */
const SEARCHES_MAX = 1024;

type KeyValues = Record<string, string>;

interface Named {
  dbName: string;
  collectionName: string;
}

export interface WriteRequest extends Named {
  partitionName: string;
  columns: GivenColumn[];
  rowCount: number;
  /** 0: none. */
  schemaTimestamp: bigint;
  namespace: string;
  partialUpdate: boolean;
  fieldOps: { fieldName: string; op: number }[];
}

export interface DeleteRequest extends Named {
  partitionName: string;
  filter: string;
  exprParams: Record<string, unknown>;
}

/** How fresh a read is to be, in the words of the wire. */
export interface Consistency {
  level: number;
  isDefault: boolean;
  /** 0: none. */
  guaranteeTimestamp: bigint;
}

interface ReadRequest extends Named, Consistency {
  partitionNames: string[];
  outputFields: string[];
  namespace: string;
}

export interface QueryRequest extends ReadRequest {
  filter: string;
  exprParams: Record<string, unknown>;
  params: KeyValues;
}

interface RerankFunction {
  name: string;
  type: number;
  inputFieldNames: string[];
  outputFieldNames: string[];
  params: KeyValues;
}

export interface FunctionScore {
  functions: RerankFunction[];
  params: KeyValues;
}

export interface SearchRequest extends ReadRequest {
  filter: string;
  exprParams: Record<string, unknown>;
  params: KeyValues;
  /** Undefined: none, then there are ids. */
  queries: Queries | undefined;
  ids: (string | number | bigint)[] | undefined;
  functionScore: FunctionScore | undefined;
  highlighter: { type: number; params: KeyValues } | undefined;
}

export interface HybridSearchRequest extends ReadRequest {
  searches: SearchRequest[];
  rankParams: KeyValues;
  functionScore: FunctionScore | undefined;
}

export function readInsert(bytes: Buffer): Steps<WriteRequest> {
  return readWrite(bytes, "InsertRequest");
}

export function readUpsert(bytes: Buffer): Steps<WriteRequest> {
  return readWrite(bytes, "UpsertRequest");
}

/**
 * The two are alike but for what only an upsert has. Columns are read when all else is known, by which they are bounded.
 * @throws VdbError invalid_parameter
 */
function readWrite(bytes: Buffer, what: "InsertRequest" | "UpsertRequest"): Steps<WriteRequest> {
  const F = FIELDS[what];
  const upsert = what === "UpsertRequest" ? FIELDS.UpsertRequest : undefined;
  const request: WriteRequest = {
    ...{ dbName: "", collectionName: "", partitionName: "", columns: [], rowCount: 0, schemaTimestamp: 0n },
    ...{ namespace: "", partialUpdate: false, fieldOps: [] },
  };
  return decodeWith(bytes, what, function* (reader) {
    const columnsAt: number[] = [];
    const readField = (field: number, type: number) => {
      if (field === F.fieldsData) passColumn(reader, type, columnsAt);
      else if (field === F.dbName) request.dbName = readText(reader, type);
      else if (field === F.collectionName) request.collectionName = readText(reader, type);
      else if (field === F.partitionName) request.partitionName = readText(reader, type);
      else if (field === F.numRows) request.rowCount = readInteger(reader, type);
      else if (field === F.schemaTimestamp) request.schemaTimestamp = readUint64(reader, type);
      else if (field === F.namespace) request.namespace = readText(reader, type);
      else if (field === upsert?.partialUpdate) request.partialUpdate = readFlag(reader, type);
      else if (field === upsert?.fieldOps) {
        if (request.fieldOps.length === COLUMNS_MAX) throw new RangeError(`it has more than ${COLUMNS_MAX} fieldOps`);
        request.fieldOps.push(readFieldOp(reader, type));
      }
      return undefined;
    };
    // Hash keys, which nobody reads, come one by one from some clients: as many as rows.
    yield* readFieldsInSteps(reader, reader.len, readField);
    for (const at of columnsAt) {
      reader.pos = at;
      request.columns.push(yield* readFieldData(reader, LENGTH, request.rowCount));
    }
    return request;
  });
}

/** Notes where a column is, and goes on behind it. */
function passColumn(reader: Reader, wireType: number, columnsAt: number[]): void {
  if (columnsAt.length === COLUMNS_MAX) {
    throw new VdbError("invalid_parameter", `more fieldData has pass in: at most ${COLUMNS_MAX} are taken`);
  }
  columnsAt.push(reader.pos);
  reader.pos = enter(reader, wireType);
}

function readFieldOp(reader: Reader, wireType: number): { fieldName: string; op: number } {
  const F = FIELDS.FieldPartialUpdateOp;
  const fieldOp = { fieldName: "", op: 0 };
  readFields(reader, enter(reader, wireType), (field, type) => {
    if (field === F.fieldName) fieldOp.fieldName = readText(reader, type);
    else if (field === F.op) fieldOp.op = readInteger(reader, type);
  });
  return fieldOp;
}

/** @throws VdbError invalid_parameter */
export function readDelete(bytes: Buffer): Steps<DeleteRequest> {
  const F = FIELDS.DeleteRequest;
  const request: DeleteRequest = { dbName: "", collectionName: "", partitionName: "", filter: "", exprParams: {} };
  const readField = (reader: Reader) => (field: number, type: number) => {
    if (field === F.dbName) request.dbName = readText(reader, type);
    else if (field === F.collectionName) request.collectionName = readText(reader, type);
    else if (field === F.partitionName) request.partitionName = readText(reader, type);
    else if (field === F.expr) request.filter = readText(reader, type);
    else if (field === F.exprTemplateValues) return readTemplate(reader, type, request.exprParams);
    return undefined;
  };
  return decodeWith(bytes, "DeleteRequest", function* (reader) {
    yield* readFieldsInSteps(reader, reader.len, readField(reader), FIELDS_MAX);
    return request;
  });
}

function emptyRead(): ReadRequest {
  return {
    ...{ dbName: "", collectionName: "", partitionNames: [], outputFields: [], namespace: "" },
    ...{ level: 0, isDefault: false, guaranteeTimestamp: 0n },
  };
}

type ReadFieldNumbers = Record<
  | "dbName"
  | "collectionName"
  | "partitionNames"
  | "outputFields"
  | "guaranteeTimestamp"
  | "consistencyLevel"
  | "useDefaultConsistency"
  | "namespace",
  number
>;

/** The fields that every read has, under its own numbers. */
function readCommon(reader: Reader, field: number, type: number, F: ReadFieldNumbers, into: ReadRequest): void {
  if (field === F.dbName) into.dbName = readText(reader, type);
  else if (field === F.collectionName) into.collectionName = readText(reader, type);
  else if (field === F.partitionNames) into.partitionNames.push(readText(reader, type));
  else if (field === F.outputFields) into.outputFields.push(readText(reader, type));
  else if (field === F.guaranteeTimestamp) into.guaranteeTimestamp = readUint64(reader, type);
  else if (field === F.consistencyLevel) into.level = readInteger(reader, type);
  else if (field === F.useDefaultConsistency) into.isDefault = readFlag(reader, type);
  else if (field === F.namespace) into.namespace = readText(reader, type);
}

/** @throws VdbError invalid_parameter */
export function readQuery(bytes: Buffer): Steps<QueryRequest> {
  const F = FIELDS.QueryRequest;
  const request: QueryRequest = { ...emptyRead(), filter: "", exprParams: {}, params: {} };
  const readField = (reader: Reader) => (field: number, type: number) => {
    if (field === F.expr) request.filter = readText(reader, type);
    else if (field === F.queryParams) readPair(reader, type, request.params);
    else if (field === F.exprTemplateValues) return readTemplate(reader, type, request.exprParams);
    else readCommon(reader, field, type, F, request);
    return undefined;
  };
  return decodeWith(bytes, "QueryRequest", function* (reader) {
    yield* readFieldsInSteps(reader, reader.len, readField(reader), FIELDS_MAX);
    return request;
  });
}

/** @throws VdbError invalid_parameter */
export function readSearch(bytes: Buffer): Steps<SearchRequest> {
  return decodeWith(bytes, "SearchRequest", (reader) => readSearchFields(reader, reader.len));
}

function* readSearchFields(reader: Reader, end: number): Steps<SearchRequest> {
  const F = FIELDS.SearchRequest;
  const request: SearchRequest = {
    ...emptyRead(),
    ...{ filter: "", exprParams: {}, params: {} },
    ...{ queries: undefined, ids: undefined, functionScore: undefined, highlighter: undefined },
  };
  function* readPart(field: number, type: number): Steps {
    if (field === F.placeholderGroup) request.queries = yield* readPlaceholders(readBytes(reader, type));
    else if (field === F.ids) request.ids = yield* readIds(reader, type);
    else request.functionScore = yield* readFunctionScore(reader, type);
  }
  const readField = (field: number, type: number) => {
    if (field === F.dsl) request.filter = readText(reader, type);
    else if (field === F.placeholderGroup || field === F.ids || field === F.functionScore) return readPart(field, type);
    else if (field === F.searchParams) readPair(reader, type, request.params);
    else if (field === F.exprTemplateValues) return readTemplate(reader, type, request.exprParams);
    else if (field === F.highlighter) request.highlighter = readHighlighter(reader, type);
    else readCommon(reader, field, type, F, request);
    return undefined;
  };
  yield* readFieldsInSteps(reader, end, readField, FIELDS_MAX);
  return request;
}

/** @throws VdbError invalid_parameter */
export function readHybridSearch(bytes: Buffer): Steps<HybridSearchRequest> {
  const F = FIELDS.HybridSearchRequest;
  const request: HybridSearchRequest = { ...emptyRead(), searches: [], rankParams: {}, functionScore: undefined };
  return decodeWith(bytes, "HybridSearchRequest", function* (reader) {
    function* readPart(field: number, type: number): Steps {
      if (field === F.functionScore) request.functionScore = yield* readFunctionScore(reader, type);
      else request.searches.push(yield* readSearchFields(reader, enter(reader, type)));
      if (request.searches.length > SEARCHES_MAX) throw tooManySearches();
    }
    const readField = (field: number, type: number) => {
      if (field === F.requests || field === F.functionScore) return readPart(field, type);
      if (field === F.rankParams) readPair(reader, type, request.rankParams);
      else readCommon(reader, field, type, F, request);
      return undefined;
    };
    yield* readFieldsInSteps(reader, reader.len, readField, FIELDS_MAX);
    return request;
  });
}

function tooManySearches(): VdbError {
  return new VdbError("unexpected", `maximum of ann search requests is ${SEARCHES_MAX}`);
}

function* readFunctionScore(reader: Reader, wireType: number): Steps<FunctionScore> {
  const F = FIELDS.FunctionScore;
  const score: FunctionScore = { functions: [], params: {} };
  const readField = (field: number, type: number) => {
    if (field === F.functions) score.functions.push(readFunction(reader, type));
    else if (field === F.params) readPair(reader, type, score.params);
    return undefined;
  };
  yield* readFieldsInSteps(reader, enter(reader, wireType), readField, FIELDS_MAX);
  return score;
}

function readFunction(reader: Reader, wireType: number): RerankFunction {
  const F = FIELDS.FunctionSchema;
  const made: RerankFunction = { name: "", type: 0, inputFieldNames: [], outputFieldNames: [], params: {} };
  readFields(reader, enter(reader, wireType), (field, type) => {
    if (field === F.name) made.name = readText(reader, type);
    else if (field === F.type) made.type = readInteger(reader, type);
    else if (field === F.inputFieldNames) made.inputFieldNames.push(readText(reader, type));
    else if (field === F.outputFieldNames) made.outputFieldNames.push(readText(reader, type));
    else if (field === F.params) readPair(reader, type, made.params);
  });
  return made;
}

function readHighlighter(reader: Reader, wireType: number): { type: number; params: KeyValues } {
  const F = FIELDS.Highlighter;
  const highlighter = { type: 0, params: {} as KeyValues };
  readFields(reader, enter(reader, wireType), (field, type) => {
    if (field === F.type) highlighter.type = readInteger(reader, type);
    else if (field === F.params) readPair(reader, type, highlighter.params);
  });
  return highlighter;
}
