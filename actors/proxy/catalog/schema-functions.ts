/** `schema.functions` of a create request: what makes one field of another. Of Milvus's functions there is BM25. */
import { z } from "zod";
import { optional } from "../parse-body.ts";
import { type FieldSpec, invalid } from "./field-spec.ts";

const NameList = optional(z.array(z.string()));

export const FunctionBody = z.object({
  name: optional(z.string()),
  description: optional(z.string()),
  type: optional(z.union([z.string(), z.number()])),
  inputFieldNames: NameList,
  outputFieldNames: NameList,
  params: optional(z.record(z.string(), z.unknown())),
});
export type FunctionBody = z.infer<typeof FunctionBody>;

/** A function by the names of its fields: they have ids only once the collection is there. */
export interface FunctionRequest {
  name: string;
  type: "BM25";
  description: string;
  inputFieldNames: string[];
  outputFieldNames: string[];
  params: Record<string, string>;
}

/** The functions, and the fields with those that functions make marked so. @throws VdbError invalid_parameter */
export function withFunctions(
  fields: readonly FieldSpec[],
  bodies: readonly FunctionBody[],
): { fields: FieldSpec[]; functions: FunctionRequest[] } {
  const functions = bodies.map(functionRequest);
  const names = new Set<string>();
  const outputs = new Map<string, string>();
  for (const request of functions) {
    const { name, inputFieldNames, outputFieldNames } = request;
    if (names.has(name)) throw invalid(`duplicate function name: ${name}`);
    names.add(name);
    checkInput(request, fieldNamed(fields, inputFieldNames[0]!, "input"));
    checkOutput(request, fieldNamed(fields, outputFieldNames[0]!, "output"));
    const other = outputs.get(outputFieldNames[0]!);
    if (other !== undefined) {
      throw invalid(`duplicate function output field: field ${outputFieldNames[0]} of functions ${other} and ${name}`);
    }
    outputs.set(outputFieldNames[0]!, name);
  }
  const marked = fields.map((field) => (outputs.has(field.name) ? { ...field, isFunctionOutput: true } : field));
  return { fields: marked, functions };
}

function functionRequest(body: FunctionBody): FunctionRequest {
  const { name = "", description = "", type, inputFieldNames = [], outputFieldNames = [], params = {} } = body;
  if (name === "") throw invalid("function name cannot be empty");
  checkType(name, type);
  checkNames(name, "input", inputFieldNames);
  checkNames(name, "output", outputFieldNames);
  const shared = inputFieldNames.find((field) => outputFieldNames.includes(field));
  if (shared !== undefined) {
    throw invalid(
      `a single field cannot be both input and output in the same function, function: ${name}, field: ${shared}`,
    );
  }
  if (inputFieldNames.length > 1) {
    throw invalid(`BM25 function should have one input field, got ${inputFieldNames.length}: function ${name}`);
  }
  if (outputFieldNames.length > 1) {
    throw invalid(`BM25 function should have one output field, got ${outputFieldNames.length}: function ${name}`);
  }
  const [param] = Object.keys(params);
  if (param !== undefined) throw invalid(`BM25 function accepts no params, got ${param}: function ${name}`);
  return { name, type: "BM25", description, inputFieldNames, outputFieldNames, params: {} };
}

function checkType(name: string, type: unknown): void {
  if (type === "BM25" || type === 1) return;
  if (type === "TextEmbedding" || type === "Rerank" || type === 2 || type === 3) {
    throw invalid(`function type ${type} of function ${name} is not supported in a schema`);
  }
  throw invalid(`unknown function type: ${String(type)} of function ${name}`);
}

function checkNames(name: string, side: "input" | "output", names: readonly string[]): void {
  if (names.length === 0) throw invalid(`function ${side} field names cannot be empty, function: ${name}`);
  if (names.includes("")) throw invalid(`function ${side} field name cannot be empty string, function: ${name}`);
  const repeated = names.find((field, i) => names.indexOf(field) < i);
  if (repeated === undefined) return;
  throw invalid(
    `each function ${side} field should be used exactly once in the same function, function: ${name}, ${side} field: ${repeated}`,
  );
}

function fieldNamed(fields: readonly FieldSpec[], name: string, side: "input" | "output"): FieldSpec {
  const field = fields.find((candidate) => candidate.name === name);
  if (field === undefined) throw invalid(`function ${side} field not found: ${name}`);
  return field;
}

function checkInput({ name }: FunctionRequest, field: FieldSpec): void {
  if (field.type !== "VarChar") {
    throw invalid(
      `BM25 function input field must be a VARCHAR field, got field ${field.name} of type ${field.type}: function ${name}`,
    );
  }
  if (field.nullable) throw invalid(`function input field cannot be nullable: function ${name}, field ${field.name}`);
  if (field.enableAnalyzer !== true) {
    throw invalid(`BM25 function input field must set enable_analyzer to true: function ${name}, field ${field.name}`);
  }
}

function checkOutput({ name }: FunctionRequest, field: FieldSpec): void {
  if (field.nullable) throw invalid(`function output field cannot be nullable: function ${name}, field ${field.name}`);
  if (field.type === "SparseFloatVector") return;
  throw invalid(
    `BM25 function output field must be a SparseFloatVector field, but got ${field.type}: function ${name}, field ${field.name}`,
  );
}
