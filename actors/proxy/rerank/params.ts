/** Parameters of rerankers: JSON values, or the texts that SDKs send of them. Errors are Milvus's untyped ones. */
import { VdbError } from "../../../runtime/errors.ts";

export type Params = Readonly<Record<string, unknown>>;

export function rerankError(message: string): VdbError {
  return new VdbError("unexpected", message);
}

/** @throws VdbError unexpected */
export function numberParam(params: Params, name: string): number | undefined {
  const given = params[name];
  if (given === undefined || given === null) return undefined;
  const value = typeof given === "string" && given.trim() !== "" ? Number(given) : given;
  if (typeof value === "number" && Number.isFinite(value)) return value;
  throw rerankError(`param ${name}:${shown(given)} is not a number`);
}

/** @throws VdbError unexpected */
export function booleanParam(params: Params, name: string): boolean {
  const given = params[name];
  if (given === undefined || given === null) return false;
  if (typeof given === "boolean") return given;
  const text = String(given).toLowerCase();
  if (text === "true" || text === "false") return text === "true";
  throw rerankError(`${name} params must be true/false, but got ${shown(given)}`);
}

/** Lower case; undefined when there is none. */
export function wordParam(params: Params, name: string): string | undefined {
  const given = params[name];
  return given === undefined || given === null ? undefined : shown(given).toLowerCase();
}

/** A list or an object, or the JSON text of one. @throws VdbError unexpected */
export function jsonParam(params: Params, name: string): unknown {
  const given = params[name];
  if (typeof given !== "string") return given ?? undefined;
  try {
    return JSON.parse(given) as unknown;
  } catch {
    throw rerankError(`parse ${name} param failed: ${given}`);
  }
}

export function shown(given: unknown): string {
  return typeof given === "string" ? given : (JSON.stringify(given) ?? "");
}
