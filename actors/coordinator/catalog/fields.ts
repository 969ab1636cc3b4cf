/**
 * Changes of a schema. Each gives it the next version; rows of an older one are refused by the shards' owners and made
 * anew by their proxy. A field gets an id that none had before: columns are kept under it.
 */
import { isDeepStrictEqual } from "node:util";
import { VdbError } from "../../../runtime/errors.ts";
import type { addField, alterField, dropField } from "../../../runtime/protocol/coordinator.ts";
import {
  type CollectionSchema,
  DYNAMIC_FIELD,
  type FieldSchema,
  type FunctionSchema,
  isVectorType,
  VECTOR_FIELDS_MAX,
  vectorFields,
} from "../../../runtime/schema.ts";
import type { ChangeContext, Changed } from "./changes.ts";

/** The dynamic field is not counted. */
const FIELDS_MAX = 64;

type AddField = (typeof addField)["request"]["_output"];
type DropField = (typeof dropField)["request"]["_output"];
type AlterField = (typeof alterField)["request"]["_output"];

export interface FieldChanges {
  addField(request: AddField): Promise<Changed>;
  alterField(request: AlterField): Promise<Changed>;
  dropField(request: DropField): Promise<Changed>;
  renameField(request: { collectionId: number; fieldId: number; name: string }): Promise<Changed>;
}

export function fieldChanges({ commit, existing, put }: ChangeContext): FieldChanges {
  return {
    addField: ({ collectionId, schemaVersion, field }) =>
      commit(() => {
        const collection = existing(collectionId);
        const { schema } = collection;
        const other = schema.fields.find(({ name }) => name === field.name);
        if (other !== undefined) {
          // Asked again after it was done: the schema was another then.
          const { fieldId: _, ...spec } = other;
          if (schemaVersion < schema.version && isDeepStrictEqual(spec, field)) return null;
          throw invalid(`duplicate field name: ${field.name}`);
        }
        if (schema.fields.filter(({ isDynamic }) => !isDynamic).length >= FIELDS_MAX) {
          throw new VdbError(
            "invalid_parameter",
            `The number of fields has reached the maximum value ${FIELDS_MAX}, maximum field's number should be limited to ${FIELDS_MAX}`,
          );
        }
        if (isVectorType(field.type) && vectorFields(schema).length >= VECTOR_FIELDS_MAX) {
          throw new VdbError(
            "unexpected",
            `maximum vector field's number should be limited to ${VECTOR_FIELDS_MAX}, field name = ${field.name}`,
          );
        }
        return [put({ ...collection, schema: withField(schema, field) })];
      }),

    alterField: ({ collectionId, fieldId, change }) =>
      commit(() => {
        const collection = existing(collectionId);
        const { schema } = collection;
        const field = schema.fields.find((candidate) => candidate.fieldId === fieldId);
        if (field === undefined) throw new VdbError("field_not_found", `field not found[field=${fieldId}]`);
        if (change.mmapEnabled !== undefined && collection.loaded !== undefined) {
          throw new VdbError(
            "collection_loaded",
            `can not alter collection field properties if collection loaded[collection=${collection.name}]`,
          );
        }
        const changed = { ...field, ...change } as FieldSchema;
        if (isDeepStrictEqual(changed, field)) return null;
        const fields = schema.fields.map((candidate) => (candidate === field ? changed : candidate));
        return [put({ ...collection, schema: { ...schema, version: schema.version + 1, fields } })];
      }),

    dropField: ({ collectionId, called, fieldId }) =>
      commit(() => {
        const { loaded, ...collection } = existing(collectionId, called);
        const { schema } = collection;
        const field = schema.fields.find((candidate) => candidate.fieldId === fieldId);
        if (field === undefined) return null;
        refuseNeeded(schema, field, "drop");
        if (collection.indexes.some((index) => index.fieldId === fieldId)) {
          throw invalid(`field ${field.name} has an index: drop it first`);
        }
        const fields = schema.fields.filter((candidate) => candidate !== field);
        const changed = { ...schema, version: schema.version + 1, fields, lastFieldId: lastFieldId(schema) };
        const fieldIds = loaded?.fieldIds?.filter((id) => id !== fieldId);
        const stillLoaded = loaded === undefined ? {} : { loaded: { ...loaded, ...(fieldIds && { fieldIds }) } };
        return [put({ ...collection, ...stillLoaded, schema: changed })];
      }),

    renameField: ({ collectionId, fieldId, name }) =>
      commit(() => {
        const collection = existing(collectionId);
        const { schema } = collection;
        const field = schema.fields.find((candidate) => candidate.fieldId === fieldId);
        if (field === undefined) throw new VdbError("field_not_found", `field not found[field=${fieldId}]`);
        if (field.name === name) return null;
        if (schema.fields.some((other) => other.name === name)) throw invalid(`duplicate field name: ${name}`);
        if (field.isDynamic) throw invalid(`not support to rename dynamic field, field name = ${field.name}`);
        // Analyzers chosen by another field name it in their parameters.
        const user = schema.fields.find(({ multiAnalyzerParams = "" }) =>
          multiAnalyzerParams.includes(`"${field.name}"`),
        );
        if (user !== undefined) throw invalid(`field ${field.name} names the analyzer of field ${user.name}`);
        const fields = schema.fields.map((other) => (other === field ? { ...field, name } : other));
        return [put({ ...collection, schema: { ...schema, version: schema.version + 1, fields } })];
      }),
  };
}

/** @throws VdbError invalid_parameter for a field that the collection cannot be without */
function refuseNeeded(schema: CollectionSchema, field: FieldSchema, verb: string): void {
  const refuse = (what: string) => invalid(`not support to ${verb} ${what}, field name = ${field.name}`);
  if (field.isPrimary) throw refuse("pk field");
  if (field.isPartitionKey === true) throw refuse("partition key field");
  if (field.isClusteringKey === true) throw refuse("clustering key field");
  if (field.isDynamic) throw refuse("dynamic field");
  if (isVectorType(field.type)) throw refuse("vector field");
  const isUsed = ({ inputFieldIds, outputFieldIds }: FunctionSchema) =>
    [...inputFieldIds, ...outputFieldIds].includes(field.fieldId);
  if (schema.functions?.some(isUsed) === true) throw refuse("field of a function");
  const named = schema.fields.some(({ multiAnalyzerParams = "" }) => multiAnalyzerParams.includes(`"${field.name}"`));
  if (named) throw refuse("field that names analyzers");
}

function lastFieldId(schema: CollectionSchema): number {
  return Math.max(schema.lastFieldId ?? 0, ...schema.fields.map(({ fieldId }) => fieldId));
}

function invalid(message: string): VdbError {
  return new VdbError("invalid_parameter", message);
}

/** With the dynamic field, which rows from before do not have: they have no dynamic keys. */
export function withDynamicField(schema: CollectionSchema): CollectionSchema {
  if (schema.enableDynamicField) return schema;
  const field = {
    name: DYNAMIC_FIELD,
    type: "JSON" as const,
    description: "dynamic schema",
    isPrimary: false,
    nullable: false,
    isDynamic: true,
  };
  return { ...withField(schema, field), enableDynamicField: true };
}

function withField(schema: CollectionSchema, field: Omit<FieldSchema, "fieldId">): CollectionSchema {
  const fieldId = lastFieldId(schema) + 1;
  return { ...schema, version: schema.version + 1, fields: [...schema.fields, { ...field, fieldId }] };
}
