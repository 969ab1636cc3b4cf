/**
 * Which vectors and indexes are copied to memory and which stay in the disk cache's files, mapped. As users of Milvus expect:
 * `mmap.enabled` of the field or the index says it, else that of the collection; else it is the node's setting.
 */
import type { Config } from "../../runtime/config/schema.ts";
import type { CollectionDoc, IndexDefinition } from "../../runtime/protocol/catalog.ts";
import type { FieldSchema } from "../../runtime/schema.ts";

/** surplus: mapped where memory has no room. */
export type MmapPolicy = Config["query"]["mmap"];

const PROPERTY = "mmap.enabled";

export function fieldPolicy(
  setting: MmapPolicy,
  { properties }: Pick<CollectionDoc, "properties">,
  field: Pick<FieldSchema, "mmapEnabled">,
): MmapPolicy {
  return policyOf(field.mmapEnabled ?? properties[PROPERTY], setting);
}

export function indexPolicy(
  setting: MmapPolicy,
  { properties }: Pick<CollectionDoc, "properties">,
  index: Pick<IndexDefinition, "params" | "properties">,
): MmapPolicy {
  return policyOf(index.properties?.[PROPERTY] ?? index.params[PROPERTY] ?? properties[PROPERTY], setting);
}

function policyOf(property: unknown, setting: MmapPolicy): MmapPolicy {
  if (property === undefined) return setting;
  return String(property) === "true" ? "always" : "never";
}
