/** The requests of the entity RPCs, read field by field: no object for a value of a column or a key. */
import type { GivenColumn } from "../../../../runtime/rows/given-columns.ts";
import { FIELDS } from "./numbers.ts";
import { readFieldData } from "./read-columns.ts";
import { readIds, readPair, readPlaceholders, readTemplate } from "./read-values.ts";
import {
  decodeWith,
  enter,
  type Reader,
  readBytes,
  readFields,
  readFlag,
  readInteger,
  readText,
  readUint64,
} from "./reader.ts";

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
  queries: unknown[] | undefined;
  ids: (string | number | bigint)[] | undefined;
  functionScore: FunctionScore | undefined;
  highlighter: { type: number; params: KeyValues } | undefined;
}

export interface HybridSearchRequest extends ReadRequest {
  searches: SearchRequest[];
  rankParams: KeyValues;
  functionScore: FunctionScore | undefined;
}

export function readInsert(bytes: Buffer): WriteRequest {
  return readWrite(bytes, "InsertRequest");
}

export function readUpsert(bytes: Buffer): WriteRequest {
  return readWrite(bytes, "UpsertRequest");
}

/** The two are alike but for what only an upsert has. @throws VdbError invalid_parameter */
function readWrite(bytes: Buffer, what: "InsertRequest" | "UpsertRequest"): WriteRequest {
  const F = FIELDS[what];
  const upsert = what === "UpsertRequest" ? FIELDS.UpsertRequest : undefined;
  const request: WriteRequest = {
    ...{ dbName: "", collectionName: "", partitionName: "", columns: [], rowCount: 0, schemaTimestamp: 0n },
    ...{ namespace: "", partialUpdate: false, fieldOps: [] },
  };
  return decodeWith(bytes, what, (reader) => {
    readFields(reader, reader.len, (field, type) => {
      if (field === F.fieldsData) request.columns.push(readFieldData(reader, type));
      else if (field === F.dbName) request.dbName = readText(reader, type);
      else if (field === F.collectionName) request.collectionName = readText(reader, type);
      else if (field === F.partitionName) request.partitionName = readText(reader, type);
      else if (field === F.numRows) request.rowCount = readInteger(reader, type);
      else if (field === F.schemaTimestamp) request.schemaTimestamp = readUint64(reader, type);
      else if (field === F.namespace) request.namespace = readText(reader, type);
      else if (field === upsert?.partialUpdate) request.partialUpdate = readFlag(reader, type);
      else if (field === upsert?.fieldOps) request.fieldOps.push(readFieldOp(reader, type));
    });
    return request;
  });
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
export function readDelete(bytes: Buffer): DeleteRequest {
  const F = FIELDS.DeleteRequest;
  const request: DeleteRequest = { dbName: "", collectionName: "", partitionName: "", filter: "", exprParams: {} };
  return decodeWith(bytes, "DeleteRequest", (reader) => {
    readFields(reader, reader.len, (field, type) => {
      if (field === F.dbName) request.dbName = readText(reader, type);
      else if (field === F.collectionName) request.collectionName = readText(reader, type);
      else if (field === F.partitionName) request.partitionName = readText(reader, type);
      else if (field === F.expr) request.filter = readText(reader, type);
      else if (field === F.exprTemplateValues) readTemplate(reader, type, request.exprParams);
    });
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
export function readQuery(bytes: Buffer): QueryRequest {
  const F = FIELDS.QueryRequest;
  const request: QueryRequest = { ...emptyRead(), filter: "", exprParams: {}, params: {} };
  return decodeWith(bytes, "QueryRequest", (reader) => {
    readFields(reader, reader.len, (field, type) => {
      if (field === F.expr) request.filter = readText(reader, type);
      else if (field === F.queryParams) readPair(reader, type, request.params);
      else if (field === F.exprTemplateValues) readTemplate(reader, type, request.exprParams);
      else readCommon(reader, field, type, F, request);
    });
    return request;
  });
}

/** @throws VdbError invalid_parameter */
export function readSearch(bytes: Buffer): SearchRequest {
  return decodeWith(bytes, "SearchRequest", (reader) => readSearchFields(reader, reader.len));
}

function readSearchFields(reader: Reader, end: number): SearchRequest {
  const F = FIELDS.SearchRequest;
  const request: SearchRequest = {
    ...emptyRead(),
    ...{ filter: "", exprParams: {}, params: {} },
    ...{ queries: undefined, ids: undefined, functionScore: undefined, highlighter: undefined },
  };
  readFields(reader, end, (field, type) => {
    if (field === F.dsl) request.filter = readText(reader, type);
    else if (field === F.placeholderGroup) request.queries = readPlaceholders(readBytes(reader, type));
    else if (field === F.ids) request.ids = readIds(reader, type);
    else if (field === F.searchParams) readPair(reader, type, request.params);
    else if (field === F.exprTemplateValues) readTemplate(reader, type, request.exprParams);
    else if (field === F.functionScore) request.functionScore = readFunctionScore(reader, type);
    else if (field === F.highlighter) request.highlighter = readHighlighter(reader, type);
    else readCommon(reader, field, type, F, request);
  });
  return request;
}

/** @throws VdbError invalid_parameter */
export function readHybridSearch(bytes: Buffer): HybridSearchRequest {
  const F = FIELDS.HybridSearchRequest;
  const request: HybridSearchRequest = { ...emptyRead(), searches: [], rankParams: {}, functionScore: undefined };
  return decodeWith(bytes, "HybridSearchRequest", (reader) => {
    readFields(reader, reader.len, (field, type) => {
      if (field === F.requests) request.searches.push(readSearchFields(reader, enter(reader, type)));
      else if (field === F.rankParams) readPair(reader, type, request.rankParams);
      else if (field === F.functionScore) request.functionScore = readFunctionScore(reader, type);
      else readCommon(reader, field, type, F, request);
    });
    return request;
  });
}

function readFunctionScore(reader: Reader, wireType: number): FunctionScore {
  const F = FIELDS.FunctionScore;
  const score: FunctionScore = { functions: [], params: {} };
  readFields(reader, enter(reader, wireType), (field, type) => {
    if (field === F.functions) score.functions.push(readFunction(reader, type));
    else if (field === F.params) readPair(reader, type, score.params);
  });
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
