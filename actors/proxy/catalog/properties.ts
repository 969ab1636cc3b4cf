/**
 * Properties as users give them: text by key, checked by what the key means. A key that means nothing is refused: a
 * misspelt one would be kept, shown, and do nothing.
 */
import { invalid } from "./field-spec.ts";

export type GivenProperties = Readonly<Record<string, string | number | boolean | null | undefined>>;

/** The text that is kept. @throws VdbError invalid_parameter */
export type PropertyCheck = (key: string, given: string) => string;

export const flag: PropertyCheck = (key, given) => {
  const text = given.toLowerCase();
  if (text === "true" || text === "false") return text;
  throw invalid(`invalid property value: ${key} must be true or false, got ${given}`);
};

export function whole(min: number, max: number): PropertyCheck {
  return (key, given) => {
    const value = /^-?\d+$/.test(given) ? Number(given) : Number.NaN;
    if (value >= min && value <= max) return String(value);
    throw invalid(`invalid property value: ${key} must be a whole number in [${min}, ${max}], got ${given}`);
  };
}

/** Not negative; -1 for no limit. */
export const amount: PropertyCheck = (key, given) => {
  const value = given.trim() === "" ? Number.NaN : Number(given);
  if (value === -1 || (value >= 0 && Number.isFinite(value))) return given;
  throw invalid(`invalid property value: ${key} must be a number that is not negative, or -1, got ${given}`);
};

export const text: PropertyCheck = (_, given) => given;

export function oneOf(...values: readonly string[]): PropertyCheck {
  return (key, given) => {
    if (values.includes(given)) return given;
    throw invalid(`invalid property value: ${key} must be one of ${values.join(", ")}, got ${given}`);
  };
}

/** A time zone by its IANA name. */
export const timeZone: PropertyCheck = (key, given) => {
  try {
    return new Intl.DateTimeFormat("en", { timeZone: given }).resolvedOptions().timeZone === "" ? "UTC" : given;
  } catch {
    throw invalid(`invalid property value: ${key} must be the IANA name of a time zone, got ${given}`);
  }
};

/** @throws VdbError invalid_parameter */
export function checkProperties(
  given: GivenProperties,
  checks: Readonly<Record<string, PropertyCheck>>,
): Record<string, string> {
  const properties: Record<string, string> = {};
  for (const [key, value] of Object.entries(given)) {
    const check = Object.hasOwn(checks, key) ? checks[key] : undefined;
    if (check === undefined) throw invalid(`property ${key} is not supported`);
    if (value !== undefined && value !== null) properties[key] = check(key, String(value));
  }
  return properties;
}
