/** Parameters of reads as clients write them: lists of keys and values, all values text, most of them JSON's. */
import { VdbError } from "../../../../runtime/errors.ts";
import { parseJson } from "../../../../runtime/protocol/public-codec.ts";
import { timestampOfMs } from "../../../../runtime/timestamps.ts";
import type { GrpcFront } from "../rpc.ts";
import { CONSISTENCY_LEVELS } from "../wire/numbers.ts";
import type { Consistency, FunctionScore } from "../wire/requests.ts";

export type KeyValues = Readonly<Record<string, string>>;

/** @param name of the key, in messages too @throws VdbError invalid_parameter */
export function integerAt(params: KeyValues, name: string): number | undefined {
  const text = params[name]?.trim() ?? "";
  if (text === "") return undefined;
  const value = Number(text);
  if (Number.isSafeInteger(value)) return value;
  throw new VdbError("invalid_parameter", `${name} [${text}] is invalid: it is not an integer`);
}

/** @throws VdbError invalid_parameter */
export function flagAt(params: KeyValues, name: string): boolean {
  const text = (params[name] ?? "").toLowerCase();
  if (text === "" || text === "false" || text === "0") return false;
  if (text === "true" || text === "1") return true;
  throw new VdbError("invalid_parameter", `parse ${name} failed: ${text} is not a boolean`);
}

/** The JSON object that a value is; nothing where there is none. @throws VdbError invalid_parameter */
export function objectAt(params: KeyValues, name: string): Record<string, unknown> | undefined {
  const text = params[name]?.trim() ?? "";
  if (text === "") return undefined;
  let value: unknown;
  try {
    value = parseJson(text);
  } catch {
    value = undefined;
  }
  if (typeof value === "object" && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
  throw new VdbError("invalid_parameter", `${name} is no JSON object: ${text.slice(0, 60)}`);
}

/** Without the keys that have a place of their own. */
export function without(params: KeyValues, names: readonly string[]): Record<string, string> {
  return Object.fromEntries(Object.entries(params).filter(([name]) => !names.includes(name)));
}

const LEVEL_OF_TIMESTAMP: Readonly<Record<string, string>> = { "1": "Eventually", "2": "Bounded" };

/**
 * How fresh a read is to be. Strong with a timestamp is what clients say that know no levels: 1 and 2 stand for some, any
 * other is the one to wait for.
 */
export function freshnessFields({ level, isDefault, guaranteeTimestamp }: Consistency): Record<string, unknown> {
  const given = guaranteeTimestamp === 0n ? {} : { guaranteeTimestamp };
  if (isDefault) return given;
  const name = CONSISTENCY_LEVELS[level];
  if (name === undefined) throw new VdbError("invalid_parameter", `consistency level ${level} is unknown`);
  if (name === "Strong" && guaranteeTimestamp > 0n) {
    return { consistencyLevel: LEVEL_OF_TIMESTAMP[String(guaranteeTimestamp)] ?? "Customized", guaranteeTimestamp };
  }
  // Whoever waits for nothing in particular names none.
  if (name === "Customized" && guaranteeTimestamp === 0n) return { consistencyLevel: "Strong" };
  return { consistencyLevel: name, ...given };
}

/**
 * What a session of the client's has seen: the operation's own timestamp, or the time of its reply, which a later read
 * at level Session then does not fall behind.
 */
export function sessionOf({ actor }: GrpcFront, given: unknown): bigint {
  return given === undefined ? timestampOfMs(actor.clock.now()) : BigInt(given as string | bigint);
}

const FUNCTION_TYPES = ["Unknown", "BM25", "TextEmbedding", "Rerank"];

/** As a body has it. */
export function functionScoreOf(score: FunctionScore | undefined): Record<string, unknown> | undefined {
  if (score === undefined || score.functions.length === 0) return undefined;
  return {
    functions: score.functions.map((each) => ({ ...each, type: FUNCTION_TYPES[each.type] ?? each.type })),
    params: score.params,
  };
}

/** Rows in their own name space are not kept apart here. @throws VdbError invalid_parameter */
export function refuseNamespace(namespace: string): void {
  if (namespace !== "") throw new VdbError("invalid_parameter", "namespaces are not supported");
}
