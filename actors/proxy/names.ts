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

/** @throws VdbError invalid_parameter */
export function checkAlias(name: string): void {
  checkName(name, {
    what: "collection alias",
    kind: "invalid_parameter",
    rest: /^\w*$/,
    allowed: "numbers, letters and underscores",
  });
}

/** @throws VdbError invalid_database_name */
export function checkDatabaseName(name: string): void {
  const refuse = (why: string) =>
    new VdbError("invalid_database_name", `invalid database name[database=${name}]: ${why}`);
  if (name === "") throw refuse("database name couldn't be empty");
  if (Buffer.byteLength(name) > NAME_BYTES_MAX) {
    throw refuse(`the length of a database name must be less than ${NAME_BYTES_MAX} characters`);
  }
  if (!/^[A-Za-z_]/.test(name)) throw refuse("the first character of a database name must be an underscore or letter");
  if (!/^\w*$/.test(name)) throw refuse("database name can only contain numbers, letters and underscores");
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

/** @throws VdbError unexpected */
export function checkPartitionName(name: string): void {
  const refuse = (why: string) => new VdbError("unexpected", `Invalid partition name: ${name}. ${why}`);
  if (name.trim() === "") throw refuse("Partition name should not be empty.");
  if (Buffer.byteLength(name) > NAME_BYTES_MAX) {
    throw refuse(`The length of a partition name must be less than ${NAME_BYTES_MAX} characters.`);
  }
  if (!/^\w/.test(name)) {
    throw refuse("The first character of a partition name must be an underscore, letter or number.");
  }
  if (!/^[\w-]*$/.test(name)) throw refuse("Partition name can only contain numbers, letters, underscores and -.");
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

/** A "collection alias" is called so; of the others it is the name. */
function checkName(name: string, rule: { what: string; kind: ErrorKind; rest: RegExp; allowed: string }): void {
  const { kind, rest, allowed } = rule;
  const what = rule.what.endsWith("alias") ? rule.what : `${rule.what} name`;
  const invalid = `Invalid ${what}: ${name}.`;
  if (name === "") throw new VdbError(kind, `${invalid} the ${what} should not be empty`);
  if (Buffer.byteLength(name) > NAME_BYTES_MAX) {
    throw new VdbError(kind, `${invalid} the length of a ${what} must be less than ${NAME_BYTES_MAX} characters`);
  }
  if (!/^[A-Za-z_]/.test(name)) {
    throw new VdbError(kind, `${invalid} the first character of a ${what} must be an underscore or letter`);
  }
  if (!rest.test(name)) throw new VdbError(kind, `${invalid} ${what} can only contain ${allowed}`);
}
