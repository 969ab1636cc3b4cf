/** The boost ranker: what a request's functions make of the scores of each segment's best rows (runtime/search/boost-hits.ts). */
import { z } from "zod";
import type { FilterPlan } from "../../../runtime/expr/plan.ts";
import type { Boost } from "../../../runtime/protocol/values.ts";
import { type CollectionSchema, fieldByName } from "../../../runtime/schema.ts";
import { jsonParam, numberParam, type Params, rerankError, wordParam } from "./params.ts";

const RandomScore = z.object({ seed: z.union([z.int(), z.string()]).optional(), field: z.string().optional() });

const HASHED: readonly string[] = ["Int8", "Int16", "Int32", "Int64", "VarChar"];

/** @param shared params of the whole function score @throws VdbError unexpected, invalid_parameter (a filter) */
export function boostOf(
  schema: CollectionSchema,
  functions: readonly Params[],
  shared: Params,
  planFilter: (text: string) => FilterPlan | null,
): Boost {
  return {
    functions: functions.map((params) => {
      const weight = numberParam(params, "weight");
      if (weight === undefined) throw rerankError("must set weight params for weight scorer");
      const { filter } = params;
      if (filter !== undefined && filter !== null && typeof filter !== "string") {
        throw rerankError("boost function param: filter must be a string");
      }
      const random = randomOf(schema, params);
      return {
        filter: planFilter(filter ?? ""),
        weight,
        ...(random === undefined ? {} : { random }),
      };
    }),
    functionMode: modeOf(shared, "function_mode"),
    boostMode: modeOf(shared, "boost_mode"),
  };
}

function randomOf(schema: CollectionSchema, params: Params): { seed: number; fieldId?: number } | undefined {
  const given = jsonParam(params, "random_score");
  if (given === undefined) return undefined;
  const parsed = RandomScore.safeParse(given);
  const seed = Number(parsed.data?.seed ?? 0);
  if (!parsed.success || !Number.isSafeInteger(seed)) {
    throw rerankError("random_score must be an object of seed, an integer, and field, a name");
  }
  const { field: name } = parsed.data;
  if (name === undefined) return { seed };
  const field = fieldByName(schema, name);
  if (field === undefined) throw rerankError(`random_score: field not found: ${name}`);
  if (!HASHED.includes(field.type)) throw rerankError(`random_score: field ${name} must be an integer or a VarChar`);
  return { seed, ...(field.isPrimary ? {} : { fieldId: field.fieldId }) };
}

function modeOf(shared: Params, name: string): "multiply" | "sum" {
  const mode = wordParam(shared, name) ?? "multiply";
  if (mode === "multiply" || mode === "sum") return mode;
  throw rerankError(`unknown ${name.replace("_", " ")}: ${mode}, only supports: [multiply,sum]`);
}
