/** A scalar index as it is asked for: which type fits which field, and Milvus's words for what does not fit. */
import { VdbError } from "../../../runtime/errors.ts";
import { parsePath } from "../../../runtime/expr/literal.ts";
import { NO_METRIC, pathPointer } from "../../../runtime/scalar-index/definition.ts";
import { DYNAMIC_FIELD } from "../../../runtime/schema.ts";
import { checkIndexName } from "../names.ts";
import { type FieldSpec, invalid } from "./field-spec.ts";
import type { IndexBody, IndexRequest } from "./index-request.ts";

type Params = IndexRequest["params"];

const INTEGERS = ["Int8", "Int16", "Int32", "Int64"];
const NUMBERS = [...INTEGERS, "Float", "Double"];
const CAST_TYPES = ["BOOL", "DOUBLE", "VARCHAR", "ARRAY_BOOL", "ARRAY_DOUBLE", "ARRAY_VARCHAR", "JSON"];
const JSON_KEYS = ["json_path", "json_cast_type", "json_cast_function"];
const GRAM_KEYS = ["min_gram", "max_gram"];

/** As they are written in requests; they are kept as the first form. */
const TYPES: Readonly<Record<string, string>> = {
  "": "AUTOINDEX",
  AUTOINDEX: "AUTOINDEX",
  INVERTED: "INVERTED",
  BITMAP: "BITMAP",
  STL_SORT: "STL_SORT",
  Trie: "Trie",
  TRIE: "Trie",
  NGRAM: "NGRAM",
  RTREE: "RTREE",
};

/** @throws VdbError invalid_parameter, missing_parameter */
export function scalarIndexRequest(body: IndexBody, field: FieldSpec): IndexRequest {
  const { index_type: typeParam, metric_type: _, ...given } = body.params ?? {};
  const asked = String(body.indexType ?? typeParam ?? "");
  const type = TYPES[asked];
  if (type === undefined) throw invalid(`invalid parameter[expected=valid index][actual=invalid index type: ${asked}]`);
  checkField(type, field);
  const params = { ...given };
  if (field.type === "JSON") checkCast(type, field, params);
  if (type === "NGRAM") checkGrams(params);
  refuseUnknown(type, params, [...(field.type === "JSON" ? JSON_KEYS : []), ...(type === "NGRAM" ? GRAM_KEYS : [])]);
  if (field.type === "JSON") params.json_path = pointerOf(body.fieldName, field, params.json_path);
  const path = typeof params.json_path === "string" ? params.json_path : "";
  const isNamed = body.indexName !== undefined && body.indexName !== "";
  if (isNamed) checkIndexName(body.indexName!);
  const name = isNamed ? body.indexName! : `${field.name}${path}`;
  return { name, fieldName: field.name, type, metric: NO_METRIC, params };
}

/** The field that an index is asked for: one of the schema, or the dynamic one where the name is that of a dynamic key. */
export function indexedField(name: string, fields: readonly FieldSpec[]): FieldSpec | undefined {
  return fields.find((field) => field.name === name) ?? fields.find(({ isDynamic }) => isDynamic);
}

function checkField(type: string, field: FieldSpec): void {
  if (type === "RTREE" && field.type !== "Geometry") {
    throw invalid(`RTREE index can only be built on geometry field, got ${field.type} of field ${field.name}`);
  }
  if (field.type === "Geometry" && type !== "RTREE" && type !== "AUTOINDEX") {
    throw invalid(`${type} are not supported on Geometry field ${field.name}, which takes RTREE`);
  }
  const element = field.type === "Array" ? field.elementType! : field.type;
  switch (type) {
    case "BITMAP":
      if (field.isPrimary) throw invalid("create bitmap index on primary key not supported");
      if (["Bool", "VarChar", ...INTEGERS].includes(element)) return;
      throw invalid(
        `bitmap index are only supported on bool, int, string and array field, got ${field.type} of field ${field.name}`,
      );
    case "STL_SORT":
      if (["VarChar", "Timestamptz", ...NUMBERS].includes(field.type)) return;
      throw invalid(
        `STL_SORT are only supported on numeric, varchar or timestamptz field, got ${field.type} of field ${field.name}`,
      );
    case "Trie":
      if (field.type === "VarChar") return;
      throw invalid(`TRIE are only supported on varchar field, got ${field.type} of field ${field.name}`);
    case "NGRAM":
      if (field.type === "VarChar" || field.type === "JSON") return;
      throw invalid(
        `Ngram index can only be created on VARCHAR or JSON field, got ${field.type} of field ${field.name}`,
      );
    case "INVERTED":
      if (field.type === "Timestamptz") throw invalid(`INVERTED are not supported on Timestamptz field ${field.name}`);
  }
}

function checkCast(type: string, field: FieldSpec, params: Params): void {
  const given = params.json_cast_type;
  if (given === undefined) {
    throw new VdbError(
      "missing_parameter",
      `json index must specify cast type: missing parameter[missing_param=json_cast_type] of field ${field.name}`,
    );
  }
  const cast = String(given).toUpperCase();
  if (!CAST_TYPES.includes(cast)) {
    throw invalid(`json_cast_type ${String(given)} is not supported, expected one of ${CAST_TYPES.join(", ")}`);
  }
  if (type === "NGRAM" && cast !== "VARCHAR")
    throw invalid("JSON field with ngram index only supports varchar cast type");
  const convert = params.json_cast_function;
  if (convert !== undefined && (String(convert).toUpperCase() !== "STRING_TO_DOUBLE" || cast !== "DOUBLE")) {
    throw invalid(
      `json_cast_function ${String(convert)} is not supported for cast type ${cast}, expected STRING_TO_DOUBLE with DOUBLE`,
    );
  }
  params.json_cast_type = cast;
}

function checkGrams(params: Params): void {
  const { min_gram: min, max_gram: max } = params;
  if (min === undefined || max === undefined) {
    throw new VdbError("missing_parameter", "Ngram index must specify both min_gram and max_gram");
  }
  for (const [name, value] of Object.entries({ min_gram: min, max_gram: max })) {
    if (!/^-?\d+$/.test(String(value)))
      throw invalid(`${name} for Ngram index must be an integer, got: ${String(value)}`);
  }
  if (Number(min) > 0 && Number(max) >= Number(min)) return;
  throw invalid(
    `invalid min_gram or max_gram value for Ngram index, min_gram: ${String(min)}, max_gram: ${String(max)}`,
  );
}

/** Of a dynamic key the path begins with the key. @throws VdbError invalid_parameter */
function pointerOf(fieldName: string, field: FieldSpec, given: Params[string] | undefined): string {
  const text = given === undefined || given === "" ? fieldName : String(given);
  const wrong = () => invalid(`json_path ${text} is not a path of field ${fieldName}, such as ${fieldName}["key"][0]`);
  if (!/^(?:\$meta|[A-Za-z_]\w*)(?:\[(?:"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|\d+)\])*$/.test(text)) throw wrong();
  const { name, path } = parsePath(text, 0);
  if (name === field.name) return pathPointer(path);
  if (!field.isDynamic || (fieldName !== DYNAMIC_FIELD && name !== fieldName)) throw wrong();
  return pathPointer([name, ...path]);
}

function refuseUnknown(type: string, params: Params, known: readonly string[]): void {
  const unknown = Object.keys(params).find((name) => !known.includes(name));
  if (unknown === undefined) return;
  const allowed = known.length === 0 ? "none" : known.join(", ");
  throw invalid(`${unknown} is not a parameter of index type ${type} (${allowed})`);
}
