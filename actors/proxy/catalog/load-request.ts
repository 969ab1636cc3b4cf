/** Loading, as collections/load and partitions/load ask for it: replicas, where they are, and which fields. */
import { z } from "zod";
import { VdbError } from "../../../runtime/errors.ts";
import type { Catalog } from "../../../runtime/meta/catalog.ts";
import { partitionKeyField } from "../../../runtime/partitions.ts";
import type { CollectionDoc } from "../../../runtime/protocol/catalog.ts";
import type { loadCollection } from "../../../runtime/protocol/coordinator.ts";
import { isVectorType, vectorFields } from "../../../runtime/schema.ts";
import { optional } from "../parse-body.ts";
import { loadDefaults } from "./load-defaults.ts";

/** What a body may say beside what is to be loaded. `refresh` finds nothing to do: what is imported is served as soon as it is there. */
export const LoadOptions = {
  replicaNumber: optional(z.int()),
  resourceGroups: optional(z.array(z.string())),
  refresh: optional(z.boolean()),
  loadFields: optional(z.array(z.string())),
  skipLoadDynamicField: optional(z.boolean()),
};

type Options = { [Key in keyof typeof LoadOptions]?: z.infer<(typeof LoadOptions)[Key]> | undefined };

/** @throws VdbError index_not_found, invalid_parameter */
export function loadRequest(
  catalog: Catalog,
  collection: CollectionDoc,
  options: Options,
): Omit<z.infer<typeof loadCollection.request>, "partitionIds"> {
  const bare = fieldsWithoutIndex(collection);
  if (bare.length > 0) {
    const problem = `every vector field needs one before the collection is loaded, ${bare.join(", ")} has none`;
    throw new VdbError("index_not_found", `index not found[collection=${collection.name}]: ${problem}`);
  }
  const { collectionId, loaded } = collection;
  const wished = loadDefaults(catalog, collection);
  const replicaNumber = options.replicaNumber ?? loaded?.replicaNumber ?? wished.replicaNumber;
  if (replicaNumber < 1) {
    throw new VdbError("invalid_parameter", `invalid parameter[expected=NumReplica > 0][actual=${replicaNumber}]`);
  }
  // Replicas stay where they are unless their number changes or groups are named.
  const kept = replicaNumber === loaded?.replicaNumber ? loaded.resourceGroups : undefined;
  const resourceGroups = options.resourceGroups ?? kept ?? (loaded === undefined ? wished.resourceGroups : []);
  const fieldIds = fieldsAsked(collection, options);
  return { collectionId, replicaNumber, resourceGroups, ...(fieldIds === undefined ? {} : { fieldIds }) };
}

/** Names of vector fields. */
function fieldsWithoutIndex({ schema, indexes }: CollectionDoc): string[] {
  const indexed = new Set(indexes.map(({ fieldId }) => fieldId));
  return vectorFields(schema).flatMap(({ fieldId, name }) => (indexed.has(fieldId) ? [] : [name]));
}

/** Ascending; undefined: none are named. All are served in any case, but what is asked for must make sense. */
function fieldsAsked({ schema }: CollectionDoc, options: Options): number[] | undefined {
  const { loadFields = [], skipLoadDynamicField = false } = options;
  if (loadFields.length === 0 && !skipLoadDynamicField) return undefined;
  const named =
    loadFields.length === 0
      ? schema.fields.filter(({ isDynamic }) => !isDynamic)
      : loadFields.map((name) => {
          const field = schema.fields.find((candidate) => candidate.name === name);
          if (field === undefined) throw new VdbError("field_not_found", `field not found[field=${name}]`);
          if (field.isDynamic && skipLoadDynamicField) {
            throw refuse(`load field list contains dynamic field ${name}, but skip load dynamic field is set`);
          }
          return field;
        });
  const isNamed = (fieldId: number) => named.some((field) => field.fieldId === fieldId);
  for (const field of schema.fields) {
    const what = field.isPrimary
      ? "primary key field"
      : partitionKeyField(schema) === field
        ? "partition key field"
        : field.isClusteringKey === true
          ? "clustering key field"
          : null;
    if (what !== null && !isNamed(field.fieldId)) {
      throw refuse(`load field list [${loadFields.join(" ")}] does not contain ${what} ${field.name}`);
    }
  }
  if (!named.some(({ type }) => isVectorType(type))) {
    throw refuse(`load field list [${loadFields.join(" ")}] does not contain vector field`);
  }
  const dynamic = schema.fields.filter(({ isDynamic }) => isDynamic && !skipLoadDynamicField);
  const ids = new Set([...named, ...dynamic].map(({ fieldId }) => fieldId));
  return [...ids].sort((a, b) => a - b);
}

function refuse(message: string): VdbError {
  return new VdbError("invalid_parameter", message);
}
