/** The decay reranker: a row's score falls with the distance of one of its numbers from where it is wanted. */
import { type CollectionSchema, type FieldSchema, fieldByName } from "../../../runtime/schema.ts";
import { parseTimestamptz } from "../../../runtime/timestamptz.ts";
import type { ScoreMode } from "./fuse.ts";
import { booleanParam, numberParam, type Params, rerankError, shown, wordParam } from "./params.ts";

export interface Decay {
  field: FieldSchema;
  /** Between 0 and 1. @param x the row's number; microseconds of a Timestamptz */
  factor: (x: number) => number;
  /** Whether scores are brought between 0 and 1 first. */
  norm: boolean;
  mode: ScoreMode;
}

const FUNCTIONS = ["gauss", "linear", "exp"] as const;
const MODES: readonly string[] = ["max", "sum", "avg"];
const NUMBERS: readonly FieldSchema["type"][] = ["Int8", "Int16", "Int32", "Int64", "Float", "Double", "Timestamptz"];

/** @throws VdbError unexpected, in Milvus's words */
export function decayOf(schema: CollectionSchema, inputs: readonly string[], params: Params): Decay {
  const field = inputField(schema, inputs);
  const shape = wordParam(params, "function") ?? "";
  const origin = originOf(field, params);
  const scale = numberParam(params, "scale");
  const offset = numberParam(params, "offset") ?? 0;
  const decay = numberParam(params, "decay") ?? 0.5;
  if (origin === undefined) throw rerankError("decay function lost param: origin");
  if (scale === undefined) throw rerankError("decay function lost param: scale");
  if (scale <= 0) throw rerankError(`decay function param: scale must > 0, but got ${scale}`);
  if (offset < 0) throw rerankError(`decay function param: offset must >= 0, but got ${offset}`);
  if (decay <= 0 || decay >= 1) throw rerankError(`decay function param: decay must 0 < decay < 1, but got ${decay}`);
  if (!(FUNCTIONS as readonly string[]).includes(shape)) {
    throw rerankError(`invalid decay function: ${shape}, only support [${FUNCTIONS.join(",")}]`);
  }
  const mode = wordParam(params, "score_mode") ?? "max";
  if (!MODES.includes(mode)) throw rerankError(`unsupported score mode: ${mode}, only supports: [${MODES.join(",")}]`);
  const curve = curveOf(shape as (typeof FUNCTIONS)[number], scale, decay);
  return {
    field,
    factor: (x) => curve(Math.max(0, Math.abs(x - origin) - offset)),
    norm: booleanParam(params, "norm_score"),
    mode: mode as ScoreMode,
  };
}

function curveOf(shape: (typeof FUNCTIONS)[number], scale: number, decay: number): (distance: number) => number {
  const slope = Math.log(decay) / scale;
  switch (shape) {
    case "gauss":
      return (d) => Math.exp((Math.log(decay) * d * d) / (scale * scale));
    case "exp":
      return (d) => Math.exp(slope * d);
    case "linear":
      return (d) => Math.max(decay, 1 - ((1 - decay) / scale) * d);
  }
}

function inputField(schema: CollectionSchema, inputs: readonly string[]): FieldSchema {
  const [name, another] = inputs;
  if (name === undefined || another !== undefined) {
    throw rerankError(`decay function only supports single input, but gets [${inputs.join(", ")}] input`);
  }
  const field = fieldByName(schema, name);
  if (field === undefined || field.isDynamic) throw rerankError(`function input field not found: ${name}`);
  if (field.nullable) throw rerankError(`function input field cannot be nullable: field ${name}`);
  if (!NUMBERS.includes(field.type)) {
    throw rerankError(`decay rerank: unsupported input field type:${field.type}, only support numeric field`);
  }
  return field;
}

/** Of a Timestamptz also as its text. */
function originOf(field: FieldSchema, params: Params): number | undefined {
  const given = params.origin;
  if (field.type === "Timestamptz" && typeof given === "string" && !/^-?\d+$/.test(given.trim())) {
    const us = parseTimestamptz(given);
    if (us === undefined) throw rerankError(`param origin:${shown(given)} is not a number`);
    return Number(us);
  }
  return numberParam(params, "origin");
}
