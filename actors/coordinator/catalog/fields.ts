/**
 * Changes of a schema. Each gives it the next version; rows of an older one are refused by the shards' owners and made
 * anew by their proxy. A field gets an id that none had before: columns are kept under it.
 */
import { isDeepStrictEqual } from "node:util";
import { VdbError } from "../../../runtime/errors.ts";
import type { addField, alterField } from "../../../runtime/protocol/coordinator.ts";
import { type CollectionSchema, DYNAMIC_FIELD, type FieldSchema } from "../../../runtime/schema.ts";
import type { ChangeContext, Changed } from "./changes.ts";

/** The dynamic field is not counted. */
const FIELDS_MAX = 64;

type AddField = (typeof addField)["request"]["_output"];
type AlterField = (typeof alterField)["request"]["_output"];

export interface FieldChanges {
  addField(request: AddField): Promise<Changed>;
  alterField(request: AlterField): Promise<Changed>;
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
          throw new VdbError("invalid_parameter", `duplicate field name: ${field.name}`);
        }
        if (schema.fields.filter(({ isDynamic }) => !isDynamic).length >= FIELDS_MAX) {
          throw new VdbError(
            "invalid_parameter",
            `The number of fields has reached the maximum value ${FIELDS_MAX}, maximum field's number should be limited to ${FIELDS_MAX}`,
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
  };
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
  const fieldId = Math.max(...schema.fields.map((other) => other.fieldId)) + 1;
  return { ...schema, version: schema.version + 1, fields: [...schema.fields, { ...field, fieldId }] };
}
