/** schema.CollectionSchema and FieldSchema, as the public operations take and show them. */
import { VdbError } from "../../../../runtime/errors.ts";
import { type KeyValue, recordOf } from "./shapes.ts";

/** schema.ValueField: the one that is set is named by `data`. */
type ValueField = { data?: string } & Record<string, unknown>;

/** schema.FieldSchema as decoded. */
export interface FieldMessage {
  name: string;
  description: string;
  dataType: string | number;
  elementType: string | number;
  isPrimaryKey: boolean;
  isPartitionKey: boolean;
  isClusteringKey: boolean;
  isDynamic: boolean;
  autoID: boolean;
  nullable: boolean;
  typeParams: KeyValue[];
  defaultValue: ValueField | null;
}

/** schema.FunctionSchema as decoded. */
export interface FunctionMessage {
  name: string;
  description: string;
  type: string | number;
  inputFieldNames: string[];
  outputFieldNames: string[];
  params: KeyValue[];
}

/** schema.CollectionSchema as decoded. */
export interface SchemaMessage {
  name: string;
  description: string;
  autoID: boolean;
  enableDynamicField: boolean;
  enableNamespace: boolean;
  fields: FieldMessage[];
  functions: FunctionMessage[];
  structArrayFields: { name: string }[];
  properties: KeyValue[];
}

/** The body of a field, as collections/create and fields/add take it. */
export function fieldBody(field: FieldMessage): Record<string, unknown> {
  const { elementType, defaultValue } = field;
  return {
    fieldName: field.name,
    dataType: String(field.dataType),
    description: field.description,
    isPrimary: field.isPrimaryKey,
    isPartitionKey: field.isPartitionKey,
    isClusteringKey: field.isClusteringKey,
    autoID: field.autoID,
    nullable: field.nullable,
    elementTypeParams: recordOf(field.typeParams),
    ...(elementType === "None" || elementType === 0 ? {} : { elementDataType: String(elementType) }),
    ...(defaultValue?.data === undefined ? {} : { defaultValue: defaultValue[defaultValue.data] }),
  };
}

export function functionBody(each: FunctionMessage): Record<string, unknown> {
  const { name, description, type, inputFieldNames, outputFieldNames, params } = each;
  return { name, description, type, inputFieldNames, outputFieldNames, params: recordOf(params) };
}

/** @throws VdbError invalid_parameter for what there is not */
export function schemaBody(schema: SchemaMessage): Record<string, unknown> {
  const [struct] = schema.structArrayFields;
  if (struct !== undefined) {
    throw new VdbError("invalid_parameter", `data type ArrayOfStruct is not supported yet: field ${struct.name}`);
  }
  // Without fields the public operation would make a collection of its own idea.
  if (schema.fields.length === 0) throw new VdbError("invalid_parameter", "schema does not contain vector field");
  return {
    autoID: schema.autoID || schema.fields.some(({ autoID, isPrimaryKey }) => autoID && isPrimaryKey),
    enableDynamicField: schema.enableDynamicField || schema.fields.some(({ isDynamic }) => isDynamic),
    description: schema.description,
    fields: schema.fields.filter(({ isDynamic }) => !isDynamic).map(fieldBody),
    functions: schema.functions.map(functionBody),
  };
}

/** A field as collections/describe shows it. */
interface ShownField {
  name: string;
  id: number;
  type: string;
  elementType?: string;
  primaryKey: boolean;
  partitionKey: boolean;
  clusteringKey: boolean;
  autoId: boolean;
  nullable: boolean;
  defaultValue?: unknown;
  description: string;
  isFunctionOutput: boolean;
  params: KeyValue[];
}

/** As collections/describe shows a collection. */
export interface ShownCollection {
  dbName: string;
  dbID: number;
  collectionName: string;
  collectionID: number;
  description: string;
  autoId: boolean;
  load: string;
  shardsNum: number;
  partitionsNum: number;
  consistencyLevel: string;
  enableDynamicField: boolean;
  properties: KeyValue[];
  aliases: string[];
  functions: (FunctionMessage & { id: number })[];
  fields: ShownField[];
  schemaVersion: number;
  createdTimestamp: string;
  updateTimestamp: string;
  virtualChannelNames: string[];
  physicalChannelNames: string[];
  replicas: { resourceGroup: string }[];
}

/** schema.CollectionSchema of a collection. */
export function schemaMessage(shown: ShownCollection): Record<string, unknown> {
  const idOf = new Map(shown.fields.map(({ name, id }) => [name, id]));
  const ids = (names: readonly string[]) => names.flatMap((name) => idOf.get(name) ?? []);
  return {
    name: shown.collectionName,
    dbName: shown.dbName,
    description: shown.description,
    autoID: shown.autoId,
    enableDynamicField: shown.enableDynamicField,
    version: shown.schemaVersion,
    properties: shown.properties,
    fields: shown.fields.map(fieldMessage),
    functions: shown.functions.map((each) => ({
      ...each,
      inputFieldIds: ids(each.inputFieldNames),
      outputFieldIds: ids(each.outputFieldNames),
    })),
  };
}

const DEFAULT_OF: Readonly<Record<string, string>> = {
  Bool: "boolData",
  Int8: "intData",
  Int16: "intData",
  Int32: "intData",
  Int64: "longData",
  Float: "floatData",
  Double: "doubleData",
  VarChar: "stringData",
  Timestamptz: "stringData",
};

function fieldMessage(field: ShownField): Record<string, unknown> {
  const { defaultValue } = field;
  const value = typeof defaultValue === "bigint" ? String(defaultValue) : defaultValue;
  return {
    fieldID: field.id,
    name: field.name,
    description: field.description,
    dataType: field.type,
    elementType: field.elementType ?? "None",
    isPrimaryKey: field.primaryKey,
    isPartitionKey: field.partitionKey,
    isClusteringKey: field.clusteringKey,
    autoID: field.autoId,
    nullable: field.nullable,
    isFunctionOutput: field.isFunctionOutput,
    typeParams: field.params,
    ...(value === undefined ? {} : { defaultValue: { [DEFAULT_OF[field.type] ?? "stringData"]: value } }),
  };
}
