/**
 * Apache Arrow's library, loaded from the single file that its package also offers: its 150 modules take ten times as long to
 * load, and every import process would wait for that. All code shares this one copy, since its classes are compared by
 * identity.
 */
import { createRequire } from "node:module";
import type * as Arrow from "apache-arrow";

const library = createRequire(import.meta.url)("apache-arrow/Arrow.esnext.min") as typeof Arrow;

export const {
  AsyncByteQueue,
  Binary,
  Bool,
  DataType,
  Field,
  FixedSizeBinary,
  FixedSizeList,
  Float,
  Float16,
  Float32,
  Float64,
  Int,
  Int8,
  Int16,
  Int32,
  Int64,
  List,
  makeData,
  Message,
  Precision,
  RecordBatch,
  RecordBatchFileWriter,
  RecordBatchReader,
  Schema,
  Struct,
  TimestampMicrosecond,
  TimeUnit,
  Utf8,
  Vector,
} = library;

export type AsyncByteQueue = Arrow.AsyncByteQueue;
export type Bool = Arrow.Bool;
export type Data = Arrow.Data;
export type DataType = Arrow.DataType;
export type FixedSizeBinary = Arrow.FixedSizeBinary;
export type FixedSizeList = Arrow.FixedSizeList;
export type Float32 = Arrow.Float32;
export type Int32 = Arrow.Int32;
export type List = Arrow.List;
export type Message<T extends Arrow.MessageHeader = Arrow.MessageHeader> = Arrow.Message<T>;
export type RecordBatch = Arrow.RecordBatch;
export type RecordBatchFileReader = Arrow.RecordBatchFileReader;
export type Schema = Arrow.Schema;
export type Timestamp = Arrow.Timestamp;
export type Utf8 = Arrow.Utf8;
