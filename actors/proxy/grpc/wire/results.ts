/** The replies of the entity RPCs that succeeded. Their status is the empty one. */

import { columnRows } from "../../../../runtime/segment/gather.ts";
import type { KeyColumn } from "../../../../runtime/segment/keys.ts";
import type { ReplyColumn, ReplyColumns } from "../../reply-columns.ts";
import type { HitColumns } from "../../search/hit-columns.ts";
import { FIELDS, FIXED32, LENGTH } from "./numbers.ts";
import {
  encodeWith,
  packIntegers,
  tag,
  type Writer,
  writeBytes,
  writeFieldData,
  writeFloats,
  writeIds,
  writeInteger,
  writeMessage,
  writeText,
} from "./write-columns.ts";

const EMPTY = new Uint8Array(0);

export interface Mutation {
  ids: KeyColumn | undefined;
  insertCount: number;
  deleteCount: number;
  upsertCount: number;
  timestamp: bigint;
}

export function encodeMutation({ ids, insertCount, deleteCount, upsertCount, timestamp }: Mutation): Buffer {
  const F = FIELDS.MutationResult;
  return encodeWith((writer) => {
    writeBytes(writer, F.status, EMPTY);
    if (ids !== undefined) {
      writeIds(writer, F.IDs, ids);
      const places = Uint32Array.from({ length: columnRows(ids) }, (_, row) => row);
      writeBytes(writer, F.succIndex, packIntegers(places));
    }
    writeInteger(writer, F.insertCnt, insertCount);
    writeInteger(writer, F.deleteCnt, deleteCount);
    writeInteger(writer, F.upsertCnt, upsertCount);
    writeInteger(writer, F.timestamp, timestamp);
  });
}

export interface QueryAnswer {
  collectionName: string;
  data: ReplyColumns;
  /** As the client has asked for them, `*` resolved. */
  outputFields: readonly string[];
  sessionTs: bigint;
}

export function encodeQueryResults({ collectionName, data, outputFields, sessionTs }: QueryAnswer): Buffer {
  const F = FIELDS.QueryResults;
  return encodeWith((writer) => {
    writeBytes(writer, F.status, EMPTY);
    for (const column of data.columns) writeFieldData(writer, F.fieldsData, column);
    writeText(writer, F.collectionName, collectionName);
    for (const name of outputFields) writeText(writer, F.outputFields, name);
    writeInteger(writer, F.sessionTs, sessionTs);
    writeText(writer, F.primaryFieldName, primaryOf(data)?.name ?? "");
  });
}

function primaryOf({ columns }: ReplyColumns): ReplyColumn | undefined {
  return columns.find(({ isPrimary }) => isPrimary === true);
}

export interface SearchAnswer {
  collectionName: string;
  hits: HitColumns;
  /** Of each query. */
  topks: readonly number[];
  topK: number;
  outputFields: readonly string[];
  sessionTs: bigint;
  iterator: { token: string; lastBound: number } | undefined;
}

export function encodeSearchResults(answer: SearchAnswer): Buffer {
  const F = FIELDS.SearchResults;
  return encodeWith((writer) => {
    writeBytes(writer, F.status, EMPTY);
    writeMessage(writer, F.results, () => writeSearchData(writer, answer));
    writeText(writer, F.collectionName, answer.collectionName);
    writeInteger(writer, F.sessionTs, answer.sessionTs);
  });
}

function writeSearchData(writer: Writer, { hits, topks, topK, outputFields, iterator }: SearchAnswer): void {
  const F = FIELDS.SearchResultData;
  const primary = primaryOf(hits)!;
  writeInteger(writer, F.numQueries, topks.length);
  writeInteger(writer, F.topK, topK);
  for (const column of hits.columns) {
    // The ids are the keys; the field is there where it was asked for.
    if (column !== primary || outputFields.includes(primary.name)) writeFieldData(writer, F.fieldsData, column);
  }
  writeFloats(writer, F.scores, hits.distances);
  writeIds(writer, F.ids, primary.column as KeyColumn);
  writeBytes(writer, F.topks, packIntegers(topks));
  for (const name of outputFields) writeText(writer, F.outputFields, name);
  if (hits.groupByFieldValue !== undefined) writeFieldData(writer, F.groupByFieldValue, hits.groupByFieldValue);
  writeInteger(writer, F.allSearchCount, hits.rowCount);
  if (iterator !== undefined) {
    const { token, lastBound } = FIELDS.SearchIteratorV2Results;
    writeMessage(writer, F.searchIteratorV2Results, () => {
      writeText(writer, token, iterator.token);
      writer.uint32(tag(lastBound, FIXED32)).float(iterator.lastBound);
    });
  }
  writeText(writer, F.primaryFieldName, primary.name);
  for (const { fieldName, fragments } of hits.highlights ?? []) {
    writeMessage(writer, F.highlightResults, () => {
      writeText(writer, FIELDS.HighlightResult.fieldName, fieldName);
      for (const ofHit of fragments) {
        writeMessage(writer, FIELDS.HighlightResult.datas, () => {
          for (const fragment of ofHit) writer.uint32(tag(FIELDS.HighlightData.fragments, LENGTH)).string(fragment);
        });
      }
    });
  }
}
