import { describe, expect, it } from "vitest";
import { parseBody } from "../parse-body.ts";
import { CreateCollectionBody, collectionRequest } from "./create-collection.ts";

const TEXT = { fieldName: "text", dataType: "VarChar", elementTypeParams: { max_length: 99, enable_analyzer: true } };
const FIELDS = [
  { fieldName: "id", dataType: "Int64", isPrimary: true },
  TEXT,
  { ...TEXT, fieldName: "other" },
  { fieldName: "plain", dataType: "VarChar", elementTypeParams: { max_length: 99 } },
  { ...TEXT, fieldName: "maybe", nullable: true },
  { fieldName: "sparse", dataType: "SparseFloatVector" },
  { fieldName: "dense", dataType: "FloatVector", elementTypeParams: { dim: 4 } },
];
const BM25 = { name: "f", type: "BM25", inputFieldNames: ["text"], outputFieldNames: ["sparse"] };

function requested(...functions: unknown[]) {
  const schema = { fields: FIELDS, functions };
  return collectionRequest(parseBody(CreateCollectionBody, { collectionName: "c", schema }));
}

describe("functions of a schema", () => {
  it("are kept, and the field that one makes is marked", () => {
    const { functions, fields } = requested({ ...BM25, description: "d", params: {} });
    expect(functions).toEqual([{ ...BM25, description: "d", params: {} }]);
    expect(fields.filter(({ isFunctionOutput }) => isFunctionOutput).map(({ name }) => name)).toEqual(["sparse"]);
  });

  const refused: [string, unknown[], string][] = [
    ["without a name", [{ ...BM25, name: "" }], "function name cannot be empty"],
    ["of an unknown type", [{ ...BM25, type: "BM26" }], "unknown function type: BM26"],
    ["that call a model", [{ ...BM25, type: "TextEmbedding" }], "function type TextEmbedding"],
    ["with no input", [{ ...BM25, inputFieldNames: [] }], "function input field names cannot be empty, function: f"],
    ["with no output", [{ ...BM25, outputFieldNames: null }], "function output field names cannot be empty"],
    ["with two inputs", [{ ...BM25, inputFieldNames: ["text", "other"] }], "should have one input field, got 2"],
    ["with an input twice", [{ ...BM25, inputFieldNames: ["text", "text"] }], "should be used exactly once"],
    ["of an unknown input", [{ ...BM25, inputFieldNames: ["nope"] }], "function input field not found: nope"],
    ["of an unknown output", [{ ...BM25, outputFieldNames: ["nope"] }], "function output field not found: nope"],
    ["of an input that is no text", [{ ...BM25, inputFieldNames: ["id"] }], "input field must be a VARCHAR field"],
    ["of an input without analyzer", [{ ...BM25, inputFieldNames: ["plain"] }], "must set enable_analyzer to true"],
    ["of a nullable input", [{ ...BM25, inputFieldNames: ["maybe"] }], "function input field cannot be nullable"],
    ["of a dense output", [{ ...BM25, outputFieldNames: ["dense"] }], "output field must be a SparseFloatVector field"],
    ["from a field to itself", [{ ...BM25, outputFieldNames: ["text"] }], "cannot be both input and output"],
    ["with parameters", [{ ...BM25, params: { k1: 2 } }], "BM25 function accepts no params, got k1"],
    ["of one name", [BM25, BM25], "duplicate function name: f"],
    ["of one output", [BM25, { ...BM25, name: "g", inputFieldNames: ["other"] }], "duplicate function output field"],
  ];
  it.each(refused)("%s are refused", (_, functions, words) => {
    expect(() => requested(...functions)).toThrowError(
      expect.objectContaining({ code: 1100, message: expect.stringContaining(words) }) as Error,
    );
  });
});
