/** What may be called how: Milvus's rules for names. */
import { type ErrorKind, VdbError } from "../../runtime/errors.ts";

const NAME_BYTES_MAX = 255;

/** Words of the filter language; all lower and all upper case. */
const RESERVED = new Set(
  [
    ...["like", "exists", "and", "or", "not", "in", "true", "false"],
    ...["json_contains", "json_contains_all", "json_contains_any"],
    ...["array_contains", "array_contains_all", "array_contains_any", "array_length"],
    ...["text_match", "phrase_match", "random_sample"],
  ].flatMap((word) => [word, word.toUpperCase()]),
);

/** @throws VdbError invalid_parameter */
export function checkCollectionName(name: string): void {
  checkName(name, {
    what: "collection",
    kind: "invalid_parameter",
    rest: /^\w*$/,
    allowed: "numbers, letters and underscores",
  });
}

/** @throws VdbError invalid_field_name */
export function checkFieldName(name: string): void {
  checkName(name, {
    what: "field",
    kind: "invalid_field_name",
    rest: /^\w*$/,
    allowed: "numbers, letters and underscores",
  });
  if (RESERVED.has(name)) {
    throw new VdbError("invalid_field_name", `Invalid field name: ${name}. it is a keyword of filters, choose another`);
  }
}

/** @throws VdbError invalid_parameter */
export function checkIndexName(name: string): void {
  checkName(name, {
    what: "index",
    kind: "invalid_parameter",
    rest: /^[\w$]*$/,
    allowed: "numbers, letters, underscores and $",
  });
}

/** @throws VdbError invalid_parameter */
export function checkResourceGroupName(name: string): void {
  checkName(name, {
    what: "resource group",
    kind: "invalid_parameter",
    rest: /^\w*$/,
    allowed: "numbers, letters and underscores",
  });
}

function checkName(name: string, rule: { what: string; kind: ErrorKind; rest: RegExp; allowed: string }): void {
  const { what, kind, rest, allowed } = rule;
  const invalid = `Invalid ${what} name: ${name}.`;
  if (name === "") throw new VdbError(kind, `${invalid} the ${what} name should not be empty`);
  if (Buffer.byteLength(name) > NAME_BYTES_MAX) {
    throw new VdbError(kind, `${invalid} the length of a ${what} name must be less than ${NAME_BYTES_MAX} characters`);
  }
  if (!/^[A-Za-z_]/.test(name)) {
    throw new VdbError(kind, `${invalid} the first character of a ${what} name must be an underscore or letter`);
  }
  if (!rest.test(name)) throw new VdbError(kind, `${invalid} ${what} name can only contain ${allowed}`);
}
