/**
 * FieldData as columns: what clients write, before it is held against a schema. Which kind a column is of, its data say;
 * the type that the client names beside it is not heeded, as in Milvus. Values are those of the rows that have one.
 */
import { VdbError } from "../../../../runtime/errors.ts";
import type { GivenColumn } from "../../../../runtime/rows/given-columns.ts";
import { DYNAMIC_FIELD } from "../../../../runtime/schema.ts";
import type { ArrayColumn, BytesColumn, Column, PackedVectorColumn } from "../../../../runtime/segment/column.ts";
import { FIELDS } from "./numbers.ts";
import { enter, type Reader, readBytes, readFields, readFlag, readInteger, readText } from "./reader.ts";
import { BytesList, doubleList, floatList, IntegerList, type ValueList } from "./value-lists.ts";

/** @throws VdbError invalid_parameter @throws RangeError for a message that is cut off */
export function readFieldData(reader: Reader, wireType: number): GivenColumn {
  const F = FIELDS.FieldData;
  const valid = new IntegerList("bool");
  let name = "";
  let isDynamic = false;
  let column: Column | undefined;
  readFields(reader, enter(reader, wireType), (field, type) => {
    if (field === F.fieldName) name = readText(reader, type);
    else if (field === F.scalars) column = readScalars(reader, type, name);
    else if (field === F.vectors) column = readVectors(reader, type, name);
    else if (field === F.isDynamic) isDynamic = readFlag(reader, type);
    else if (field === F.validData) valid.read(reader, type);
    else if (field === F.structArrays) throw unsupported(name, "lists of structs are not supported");
  });
  return {
    name: isDynamic ? DYNAMIC_FIELD : name,
    ...(column === undefined ? {} : { column }),
    ...(valid.length === 0 ? {} : { valid: valid.takeFlags() }),
  };
}

function unsupported(name: string, problem: string): VdbError {
  return new VdbError("invalid_parameter", `field ${name}: ${problem}`, { details: { field: name } });
}

function readScalars(reader: Reader, wireType: number, name: string): Column | undefined {
  const end = enter(reader, wireType);
  let column: Column | undefined;
  readFields(reader, end, (field, type) => {
    if (field === FIELDS.ScalarField.arrayData) {
      column = readArrays(reader, type, name);
      return;
    }
    const listEnd = enter(reader, type);
    // Its own bytes, not all that follow: however many lists there are, room is made for each byte once.
    const list = listOf(field, listEnd - reader.pos);
    if (list === undefined) throw unsupported(name, `field ${field} of ScalarField is not supported`);
    readListTo(reader, listEnd, list);
    column = list.take();
  });
  return column;
}

/** Of what a field of ScalarField holds; undefined for what no type here has. */
function listOf(field: number, capacity: number): ValueList | undefined {
  const F = FIELDS.ScalarField;
  switch (field) {
    case F.boolData:
      return new IntegerList("bool");
    case F.intData:
      return new IntegerList("int32");
    case F.longData:
    case F.timestamptzData:
      return new IntegerList("int64");
    case F.floatData:
      return floatList();
    case F.doubleData:
      return doubleList();
    case F.stringData:
    case F.geometryWktData:
      return new BytesList("varchar", capacity);
    case F.jsonData:
      return new BytesList("json", capacity);
    default:
      return undefined;
  }
}

/** The field `data` of a message that has no other one. */
function readList(reader: Reader, wireType: number, list: ValueList): void {
  readListTo(reader, enter(reader, wireType), list);
}

function readListTo(reader: Reader, end: number, list: ValueList): void {
  readFields(reader, end, (field, type) => {
    if (field === FIELDS.List.data) list.read(reader, type);
  });
}

/** One ScalarField a row, whose values become items of one column. A row without values has none of any kind. */
function readArrays(reader: Reader, wireType: number, name: string): ArrayColumn {
  const end = enter(reader, wireType);
  let kind = 0;
  let list: ValueList | undefined;
  const ends: number[] = [0];
  const readRow = (field: number, type: number) => {
    const capacity = end - reader.pos;
    list ??= listOf(field, capacity);
    if (list === undefined || field === FIELDS.ScalarField.jsonData) {
      throw unsupported(name, `arrays of field ${field} of ScalarField are not supported`);
    }
    if (kind !== 0 && kind !== field) throw unsupported(name, "the arrays are not all of one type");
    kind = field;
    readList(reader, type, list);
  };
  readFields(reader, end, (field, type) => {
    if (field !== FIELDS.ArrayArray.data) return;
    readFields(reader, enter(reader, type), readRow);
    ends.push(list?.length ?? 0);
  });
  // Nothing tells the type of the items of empty lists; it does not matter.
  const items = (list ?? new IntegerList("int32")).take();
  return { kind: "array", offsets: Uint32Array.from(ends), items };
}

function readVectors(reader: Reader, wireType: number, name: string): Column | undefined {
  const F = FIELDS.VectorField;
  let dimension = 0;
  let read: ((dimension: number) => Column) | undefined;
  readFields(reader, enter(reader, wireType), (field, type) => {
    if (field === F.dim) {
      dimension = readInteger(reader, type);
    } else if (field === F.floatVector) {
      const list = floatList();
      readList(reader, type, list);
      const values = list.takeValues();
      read = (dim) => ({ kind: "floatVector", dimension: dim, values });
    } else if (field === F.sparseFloatVector) {
      const column = readSparse(reader, type);
      read = () => column;
    } else {
      const kind = PACKED_FIELDS[field];
      if (kind === undefined) throw unsupported(name, `field ${field} of VectorField is not supported`);
      const values = readBytes(reader, type);
      read = (dim) => ({ kind, dimension: dim, values });
    }
  });
  return read?.(dimension);
}

const PACKED_FIELDS: Readonly<Record<number, PackedVectorColumn["kind"]>> = {
  [FIELDS.VectorField.binaryVector]: "binaryVector",
  [FIELDS.VectorField.float16Vector]: "float16Vector",
  [FIELDS.VectorField.bfloat16Vector]: "bfloat16Vector",
  [FIELDS.VectorField.int8Vector]: "int8Vector",
};

function readSparse(reader: Reader, wireType: number): BytesColumn {
  const end = enter(reader, wireType);
  const list = new BytesList("sparseVector", end - reader.pos);
  readFields(reader, end, (field, type) => {
    if (field === FIELDS.SparseFloatArray.contents) list.read(reader, type);
  });
  return list.take();
}
