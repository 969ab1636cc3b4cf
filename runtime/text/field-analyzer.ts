/**
 * The analyzers of a field: one for all rows, or one for each language, which another field of the row names
 * (`multi_analyzer_params`: `{ analyzers, by_field, alias }`).
 */
import { errorMessage, VdbError } from "../errors.ts";
import type { FieldSchema } from "../schema.ts";
import { type Analyzer, createAnalyzer } from "./analyzer.ts";

export interface FieldAnalyzer {
  /** Name of the field that says which analyzer a row's text takes; undefined: all take one. */
  readonly byField: string | undefined;
  /** A name that no analyzer has (or none) is that of the default one. */
  named(name: string | undefined): Analyzer;
}

type AnalyzedField = Pick<FieldSchema, "name" | "analyzerParams" | "multiAnalyzerParams">;

const DEFAULT = "default";

const made = new WeakMap<AnalyzedField, FieldAnalyzer>();

/** @throws VdbError invalid_parameter */
export function fieldAnalyzer(field: AnalyzedField): FieldAnalyzer {
  let analyzer = made.get(field);
  if (analyzer === undefined) {
    analyzer = field.multiAnalyzerParams === undefined ? single(field) : several(field.name, field.multiAnalyzerParams);
    made.set(field, analyzer);
  }
  return analyzer;
}

/** Whether the field's analyzer, or one of them, finds Chinese words. */
export function needsDictionary({ analyzerParams = "", multiAnalyzerParams = "" }: AnalyzedField): boolean {
  return /"(?:jieba|chinese)"/.test(analyzerParams + multiAnalyzerParams);
}

function single({ analyzerParams }: AnalyzedField): FieldAnalyzer {
  const analyzer = createAnalyzer(analyzerParams);
  return { byField: undefined, named: () => analyzer };
}

function several(fieldName: string, json: string): FieldAnalyzer {
  const params = objectOf(parse(fieldName, json), `multi_analyzer_params of field ${fieldName}`);
  const given = objectOf(params.analyzers, `analyzers in multi_analyzer_params of field ${fieldName}`);
  const alias =
    params.alias === undefined ? {} : objectOf(params.alias, `alias in multi_analyzer_params of field ${fieldName}`);
  const { by_field: byField } = params;
  if (typeof byField !== "string" || byField === "") {
    throw invalid(`multi_analyzer_params of field ${fieldName} must name a field in by_field`);
  }
  if (given[DEFAULT] === undefined)
    throw invalid(`multi_analyzer_params of field ${fieldName} need an analyzer named default`);
  const analyzers = new Map(Object.entries(given).map(([name, one]) => [name, createAnalyzer(JSON.stringify(one))]));
  for (const [name, target] of Object.entries(alias)) {
    const analyzer = analyzers.get(String(target));
    if (analyzer === undefined) {
      throw invalid(
        `multi_analyzer_params of field ${fieldName}: alias ${name} names no analyzer: ${JSON.stringify(target)}`,
      );
    }
    if (!analyzers.has(name)) analyzers.set(name, analyzer);
  }
  const fallback = analyzers.get(DEFAULT)!;
  return { byField, named: (name) => (name === undefined ? fallback : (analyzers.get(name) ?? fallback)) };
}

function parse(fieldName: string, json: string): unknown {
  try {
    return JSON.parse(json);
  } catch (error) {
    throw invalid(`multi_analyzer_params of field ${fieldName} are not valid JSON: ${errorMessage(error)}`);
  }
}

function objectOf(value: unknown, what: string): Record<string, unknown> {
  if (typeof value === "object" && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
  throw invalid(`${what} must be an object`);
}

function invalid(message: string): VdbError {
  return new VdbError("invalid_parameter", message);
}
