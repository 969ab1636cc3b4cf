/** Properties of a collection, as create takes them: text by key, checked. */
import { TTL_PROPERTY, TTL_SECONDS_MAX, TTL_SECONDS_MIN } from "../../runtime/ttl.ts";
import { invalid } from "./field-spec.ts";

type Given = Readonly<Record<string, string | number | boolean | undefined>>;

const CHECKS: Record<string, (given: unknown) => string> = {
  [TTL_PROPERTY]: ttlSeconds,
  "collection.autocompaction.enabled": (given) => {
    if (["true", "false"].includes(String(given))) return String(given);
    throw invalid(`invalid property value: collection.autocompaction.enabled must be true or false, got ${given}`);
  },
};

/** @param ttl `params.ttlSeconds`, the same as the property. @throws VdbError invalid_parameter */
export function collectionProperties(given: Given, ttl: unknown): Record<string, string> {
  const properties: Record<string, string> = {};
  const all = ttl === undefined ? given : { [TTL_PROPERTY]: ttl, ...given };
  for (const [key, value] of Object.entries(all)) {
    const check = Object.hasOwn(CHECKS, key) ? CHECKS[key] : undefined;
    if (check === undefined) throw invalid(`property ${key} is not supported yet`);
    if (value !== undefined) properties[key] = check(value);
  }
  return properties;
}

function ttlSeconds(given: unknown): string {
  const seconds = /^-?\d+$/.test(String(given)) ? Number(given) : Number.NaN;
  if (seconds >= TTL_SECONDS_MIN && seconds <= TTL_SECONDS_MAX) return String(seconds);
  throw invalid(
    `invalid property value: ${TTL_PROPERTY} must be a whole number in [${TTL_SECONDS_MIN}, ${TTL_SECONDS_MAX}], got ${given}`,
  );
}
