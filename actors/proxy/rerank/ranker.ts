/**
 * How the hits of one or several searches are ordered anew: what `rerank` and `functionScore` of a request say.
 *
 *   rrf       by the ranks in the routes
 *   weighted  by a weighted sum of the routes' scores
 *   decay     by the routes' scores, times a factor that a field of the row decides (decay.ts)
 *   boost     within each segment, as a part of the search (boost.ts): it is no ranker here
 *   model     an outside service's scores: refused by name
 */
import { z } from "zod";
import type { FilterPlan } from "../../../runtime/expr/plan.ts";
import type { Boost } from "../../../runtime/protocol/values.ts";
import type { CollectionSchema, Metric } from "../../../runtime/schema.ts";
import { optional } from "../parse-body.ts";
import { boostOf } from "./boost.ts";
import { type Decay, decayOf } from "./decay.ts";
import { normalised, type ScoreMode, type ScoreOf } from "./fuse.ts";
import { booleanParam, jsonParam, numberParam, type Params, rerankError, wordParam } from "./params.ts";

const AnyParams = z.record(z.string(), z.unknown());

export const FunctionScoreBody = z.object({
  functions: optional(
    z.array(
      z.object({
        name: optional(z.string()),
        description: optional(z.string()),
        type: optional(z.union([z.string(), z.number()])),
        inputFieldNames: optional(z.array(z.string())),
        outputFieldNames: optional(z.array(z.string())),
        params: optional(AnyParams),
      }),
    ),
  ),
  params: optional(AnyParams),
});
export type FunctionScoreBody = z.infer<typeof FunctionScoreBody>;

export const RerankBody = z.object({ strategy: optional(z.string()), params: optional(AnyParams) });
export type RerankBody = z.infer<typeof RerankBody>;

export interface Ranker {
  kind: "rrf" | "weighted" | "decay";
  scoreOf: (metrics: readonly Metric[]) => ScoreOf;
  mode: ScoreMode;
  decay?: Decay;
}

export interface Rescoring {
  ranker?: Ranker;
  boost?: Boost;
}

const RRF_K = 60;
const RRF_K_MAX = 16_384;

const PROVIDERS = ["tei", "vllm", "cohere", "voyageai", "siliconflow", "ali", "huggingface"];

interface Scope {
  schema: CollectionSchema;
  /** Of one query list. */
  queryCount: number;
  planFilter: (text: string) => FilterPlan | null;
}

/** Empty when the request says nothing. @throws VdbError unexpected, in Milvus's words; invalid_parameter (a boost's filter) */
export function rescoringOf(body: FunctionScoreBody | undefined, scope: Scope): Rescoring {
  const functions = body?.functions ?? [];
  const kinds = functions.map(({ params = {} }) => wordParam(params, "reranker") ?? "");
  for (const [i, { type }] of functions.entries()) {
    if (type !== undefined && type !== 3 && String(type).toLowerCase() !== "rerank") {
      throw rerankError(`function ${functions[i]!.name ?? ""} is of type ${type}, not a rerank function`);
    }
  }
  if (functions.length === 0) return {};
  if (kinds.every((kind) => kind === "boost")) {
    const params = functions.map((one) => one.params ?? {});
    return { boost: boostOf(scope.schema, params, body?.params ?? {}, scope.planFilter) };
  }
  if (functions.length > 1) throw rerankError("currently only supports one rerank");
  return { ranker: rankerOf(kinds[0]!, functions[0]!.params ?? {}, functions[0]!.inputFieldNames ?? [], scope) };
}

/** What `rerank` of a hybrid search says; rrf when it says nothing. @throws VdbError unexpected */
export function strategyOf(body: RerankBody | undefined, scope: Scope): Ranker {
  const strategy = (body?.strategy ?? "").toLowerCase();
  if (strategy !== "" && strategy !== "rrf" && strategy !== "weighted") {
    throw rerankError(`unsupported rank type ${strategy}`);
  }
  return rankerOf(strategy === "" ? "rrf" : strategy, body?.params ?? {}, [], scope);
}

function rankerOf(kind: string, params: Params, inputs: readonly string[], scope: Scope): Ranker {
  switch (kind) {
    case "rrf":
      return rrfOf(params);
    case "weighted":
      return weightedOf(params);
    case "decay": {
      const decay = decayOf(scope.schema, inputs, params);
      const scoreOf = (metrics: readonly Metric[]): ScoreOf => {
        return (route, _, distance) => normalised(metrics[route]!, distance, decay.norm);
      };
      return { kind, scoreOf, mode: decay.mode, decay };
    }
    case "model":
      throw refusedModel(params, scope);
    default:
      throw rerankError(`unsupported rerank function: [${kind}]`);
  }
}

function rrfOf(params: Params): Ranker {
  const k = numberParam(params, "k") ?? RRF_K;
  if (k <= 0 || k >= RRF_K_MAX)
    throw rerankError(`the rank params k should be in range (0, ${RRF_K_MAX}), but got ${k}`);
  return { kind: "rrf", scoreOf: () => (_, rank) => 1 / (k + rank + 1), mode: "sum" };
}

function weightedOf(params: Params): Ranker {
  const weights = jsonParam(params, "weights");
  if (weights === undefined) throw rerankError("weights not found in rank params");
  if (!Array.isArray(weights) || weights.some((weight) => typeof weight !== "number")) {
    throw rerankError("parse weights param failed: the weights must be a list of numbers");
  }
  for (const weight of weights as number[]) {
    if (!(weight >= 0 && weight <= 1)) throw rerankError("rank param weight should be in range [0, 1]");
  }
  const norm = booleanParam(params, "norm_score");
  const scoreOf = (metrics: readonly Metric[]): ScoreOf => {
    if (weights.length !== metrics.length) {
      throw rerankError(
        `the length of weights param mismatch with ann search requests: invalid parameter[expected=${metrics.length}][actual=${weights.length}]`,
      );
    }
    return (route, _, distance) => weights[route] * normalised(metrics[route]!, distance, norm);
  };
  return { kind: "weighted", scoreOf, mode: "sum" };
}

/** What is wrong with it is said first, as where such services are called. */
function refusedModel(params: Params, { queryCount }: Scope): Error {
  const provider = wordParam(params, "provider") ?? "";
  if (!PROVIDERS.includes(provider)) return rerankError(`unknown rerank model provider: ${provider}`);
  const queries = jsonParam(params, "queries");
  if (!Array.isArray(queries) || queries.length === 0) return rerankError("rerank function lost params queries");
  if (queries.length !== queryCount) {
    return rerankError(`nq must equal to queries size, but got nq [${queryCount}], queries size [${queries.length}]`);
  }
  return rerankError(`rerank model provider ${provider} is not supported: models of outside services are not called`);
}
