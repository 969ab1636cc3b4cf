/**
 * FieldData as columns: what clients write, not yet checked against a schema. The data decide a column's kind; as in
 * Milvus, the type that the client names beside them is ignored. There are values only for the rows that have one.
 */
import { VdbError } from "../../../../runtime/errors.ts";
import type { GivenColumn } from "../../../../runtime/rows/given-columns.ts";
import { DYNAMIC_FIELD } from "../../../../runtime/schema.ts";
import type { ArrayColumn, BytesColumn, Column, PackedVectorColumn } from "../../../../runtime/segment/column.ts";
import type { Steps } from "../../../../runtime/steps.ts";
import { FIELDS } from "./numbers.ts";
import { enter, type Reader, readBytes, readFieldsInSteps, readFlag, readInteger, readText } from "./reader.ts";
import { type Bound, BytesList, doubleList, floatList, IntegerList, Offsets, type ValueList } from "./value-lists.ts";

/**
 * @param rowCount as the request has it: a column of more values is refused before it is read. 0: not said
 * @throws VdbError invalid_parameter @throws RangeError for a message that is cut off
 */
export function* readFieldData(reader: Reader, wireType: number, rowCount: number): Steps<GivenColumn> {
  const F = FIELDS.FieldData;
  const bound: Bound = { max: rowCount === 0 ? Number.POSITIVE_INFINITY : rowCount, field: "" };
  const valid = new IntegerList("bool", bound);
  let isDynamic = false;
  let column: Column | undefined;
  function* readColumn(field: number, type: number): Steps {
    column = yield* field === F.scalars ? readScalars(reader, type, bound) : readVectors(reader, type, bound);
  }
  yield* readFieldsInSteps(reader, enter(reader, wireType), (field, type) => {
    if (field === F.fieldName) bound.field = readText(reader, type);
    else if (field === F.scalars || field === F.vectors) return readColumn(field, type);
    else if (field === F.isDynamic) isDynamic = readFlag(reader, type);
    else if (field === F.validData) return valid.read(reader, type);
    else if (field === F.structArrays) throw unsupported(bound.field, "lists of structs are not supported");
    return undefined;
  });
  return {
    name: isDynamic ? DYNAMIC_FIELD : bound.field,
    ...(column === undefined ? {} : { column }),
    ...(valid.length === 0 ? {} : { valid: valid.takeFlags() }),
  };
}

function unsupported(name: string, problem: string): VdbError {
  return new VdbError("invalid_parameter", `field ${name}: ${problem}`, { details: { field: name } });
}

function* readScalars(reader: Reader, wireType: number, bound: Bound): Steps<Column | undefined> {
  let column: Column | undefined;
  function* readValues(field: number, type: number): Steps {
    if (field === FIELDS.ScalarField.arrayData) {
      column = yield* readArrays(reader, type, bound);
      return;
    }
    const end = enter(reader, type);
    // Its own bytes, not all that follow: however many lists there are, room is made for each byte once.
    const list = listOf(field, end - reader.pos, bound);
    if (list === undefined) throw unsupported(bound.field, `field ${field} of ScalarField is not supported`);
    yield* readList(reader, end, list);
    column = list.take();
  }
  yield* readFieldsInSteps(reader, enter(reader, wireType), readValues);
  return column;
}

/** Of what a field of ScalarField holds; undefined for what no type here has. */
function listOf(field: number, capacity: number, bound?: Bound): ValueList | undefined {
  const F = FIELDS.ScalarField;
  switch (field) {
    case F.boolData:
      return new IntegerList("bool", bound);
    case F.intData:
      return new IntegerList("int32", bound);
    case F.longData:
    case F.timestamptzData:
      return new IntegerList("int64", bound);
    case F.floatData:
      return floatList(bound);
    case F.doubleData:
      return doubleList(bound);
    case F.stringData:
    case F.geometryWktData:
      return new BytesList("varchar", capacity, bound);
    case F.jsonData:
      return new BytesList("json", capacity, bound);
    default:
      return undefined;
  }
}

/** The field `data` of a message that has no other one. */
function readList(reader: Reader, end: number, list: ValueList): Steps {
  return readFieldsInSteps(reader, end, (field, type) =>
    field === FIELDS.List.data ? list.read(reader, type) : undefined,
  );
}

/** One ScalarField a row, whose values become items of one column. A row without values has none of any kind. */
function* readArrays(reader: Reader, wireType: number, bound: Bound): Steps<ArrayColumn> {
  const end = enter(reader, wireType);
  const ends = new Offsets(bound);
  let kind = 0;
  let list: ValueList | undefined;
  const readItems = (field: number, type: number) => {
    list ??= listOf(field, end - reader.pos);
    if (list === undefined || field === FIELDS.ScalarField.jsonData) {
      throw unsupported(bound.field, `arrays of field ${field} of ScalarField are not supported`);
    }
    if (kind !== 0 && kind !== field) throw unsupported(bound.field, "the arrays are not all of one type");
    kind = field;
    return readList(reader, enter(reader, type), list);
  };
  function* readRow(type: number): Steps {
    yield* readFieldsInSteps(reader, enter(reader, type), readItems);
    const steps = ends.add(list?.length ?? 0);
    if (steps !== undefined) yield* steps;
  }
  yield* readFieldsInSteps(reader, end, (field, type) =>
    field === FIELDS.ArrayArray.data ? readRow(type) : undefined,
  );
  // Nothing tells the type of the items of empty lists; it does not matter.
  const items = (list ?? new IntegerList("int32")).take();
  return { kind: "array", offsets: ends.take(), items };
}

function* readVectors(reader: Reader, wireType: number, bound: Bound): Steps<Column | undefined> {
  const F = FIELDS.VectorField;
  let dimension = 0;
  let make: ((dimension: number) => Column) | undefined;
  function* readFloats(type: number): Steps {
    const list = floatList();
    yield* readList(reader, enter(reader, type), list);
    const values = list.takeValues();
    make = (dim) => ({ kind: "floatVector", dimension: dim, values });
  }
  function* readRows(type: number): Steps {
    const column = yield* readSparse(reader, type, bound);
    make = () => column;
  }
  yield* readFieldsInSteps(reader, enter(reader, wireType), (field, type) => {
    if (field === F.dim) dimension = readInteger(reader, type);
    else if (field === F.floatVector) return readFloats(type);
    else if (field === F.sparseFloatVector) return readRows(type);
    else {
      const kind = PACKED_FIELDS[field];
      if (kind === undefined) throw unsupported(bound.field, `field ${field} of VectorField is not supported`);
      const values = readBytes(reader, type);
      make = (dim) => ({ kind, dimension: dim, values });
    }
    return undefined;
  });
  return make?.(dimension);
}

const PACKED_FIELDS: Readonly<Record<number, PackedVectorColumn["kind"]>> = {
  [FIELDS.VectorField.binaryVector]: "binaryVector",
  [FIELDS.VectorField.float16Vector]: "float16Vector",
  [FIELDS.VectorField.bfloat16Vector]: "bfloat16Vector",
  [FIELDS.VectorField.int8Vector]: "int8Vector",
};

function* readSparse(reader: Reader, wireType: number, bound: Bound): Steps<BytesColumn> {
  const end = enter(reader, wireType);
  const list = new BytesList("sparseVector", end - reader.pos, bound);
  yield* readFieldsInSteps(reader, end, (field, type) =>
    field === FIELDS.SparseFloatArray.contents ? list.read(reader, type) : undefined,
  );
  return list.take();
}
