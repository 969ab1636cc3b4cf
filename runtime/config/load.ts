/**
 * Where settings come from: defaults < file (`--config vdb.yaml`) < environment (`VDB_QUERY__CACHE_BYTES`) < flags
 * (`--set query.cacheBytes=...`). All problems are reported together, each with its source.
 */
import { readFileSync } from "node:fs";
import { parse as parseYaml } from "yaml";
import type { z } from "zod";
import { VdbError } from "../errors.ts";
import { Config, LEASE_SECONDS } from "./schema.ts";

export type ConfigSource = "default" | "file" | "environment" | "flag";

export interface LoadedConfig {
  config: Config;
  /** Where the value of `section.key` came from. */
  sources: Map<string, ConfigSource>;
}

type Layer = { source: ConfigSource; values: Record<string, unknown> };

/** @throws VdbError invalid_parameter that lists every problem */
export function loadConfig(options: {
  file?: string;
  environment?: Record<string, string | undefined>;
  flags?: string[];
}): LoadedConfig {
  const problems: string[] = [];
  const layers: Layer[] = [];
  if (options.file !== undefined) layers.push({ source: "file", values: readFile(options.file, problems) });
  layers.push({ source: "environment", values: readEnvironment(options.environment ?? {}, problems) });
  layers.push({ source: "flag", values: readFlags(options.flags ?? [], problems) });

  const merged: Record<string, Record<string, unknown>> = {};
  const sources = new Map<string, ConfigSource>();
  for (const { source, values } of layers) {
    for (const [path, value] of Object.entries(values)) {
      const [section = "", key = ""] = path.split(".", 2);
      merged[section] = { ...merged[section], [key]: value };
      sources.set(path, source);
    }
  }
  const parsed = Config.safeParse(merged);
  if (!parsed.success) {
    for (const issue of parsed.error.issues) problems.push(...describeIssue(issue, sources));
  }
  if (problems.length > 0 || !parsed.success) {
    throw new VdbError(
      "invalid_parameter",
      `configuration has ${problems.length} problem(s):\n  ${problems.join("\n  ")}`,
    );
  }
  const config = parsed.data;
  if (!sources.has("node.leaseSeconds")) config.node.leaseSeconds = LEASE_SECONDS[config.cluster.replicas];
  const { passwordFile } = config.nats;
  if (passwordFile !== "") config.nats.password = readPassword("nats.passwordFile", passwordFile);
  const { rootPasswordFile } = config.proxy;
  if (rootPasswordFile !== "") config.proxy.rootPassword = readPassword("proxy.rootPasswordFile", rootPasswordFile);
  return { config, sources };
}

/** One line a problem, with where it came from. */
function describeIssue(issue: z.core.$ZodIssue, sources: ReadonlyMap<string, ConfigSource>): string[] {
  if (issue.code === "unrecognized_keys") {
    const paths = issue.keys.map((key) => [...issue.path, key].join("."));
    const given = [...sources.keys()].filter((path) => paths.some((bad) => path === bad || path.startsWith(`${bad}.`)));
    return given.map((path) => `${path} (from ${sources.get(path)}): there is no such setting`);
  }
  const path = issue.path.join(".");
  return [`${path || "config"} (from ${sources.get(path) ?? "the merged settings"}): ${issue.message}`];
}

function readPassword(setting: string, path: string): string {
  try {
    return readFileSync(path, "utf8").trim();
  } catch (error) {
    throw new VdbError("invalid_parameter", `${setting}: ${(error as Error).message}`);
  }
}

/** Every `section.key` with its description, for help texts and `config print`. */
export function describeConfig(): { path: string; description: string }[] {
  return sections().flatMap(([section, shape]) =>
    Object.entries(shape).map(([key, schema]) => ({
      path: `${section}.${key}`,
      description: schema.description ?? "",
    })),
  );
}

function sections(): [string, Record<string, { description?: string | undefined }>][] {
  return Object.entries(Config.shape).map(([section, schema]) => [section, schema.unwrap().shape]);
}

function readFile(path: string, problems: string[]): Record<string, unknown> {
  try {
    const document: unknown = parseYaml(readFileSync(path, "utf8")) ?? {};
    const values: Record<string, unknown> = {};
    for (const [section, keys] of Object.entries(document as Record<string, unknown>)) {
      if (typeof keys !== "object" || keys === null) problems.push(`${path}: ${section} is not a section of settings`);
      else for (const [key, value] of Object.entries(keys)) values[`${section}.${key}`] = value;
    }
    return values;
  } catch (error) {
    problems.push(`${path}: ${(error as Error).message}`);
    return {};
  }
}

/** VDB_QUERY__CACHE_BYTES names query.cacheBytes: the known keys are matched, so a misspelt one is told. */
function readEnvironment(environment: Record<string, string | undefined>, problems: string[]): Record<string, unknown> {
  const paths = new Map(describeConfig().map(({ path }) => [variableName(path), path]));
  const values: Record<string, unknown> = {};
  for (const [name, text] of Object.entries(environment)) {
    if (!name.startsWith("VDB_") || !name.includes("__") || text === undefined) continue;
    const path = paths.get(name);
    if (path === undefined) problems.push(`environment: ${name} names no setting`);
    else values[path] = literal(path, text);
  }
  return values;
}

function readFlags(flags: string[], problems: string[]): Record<string, unknown> {
  const values: Record<string, unknown> = {};
  for (const flag of flags) {
    const equals = flag.indexOf("=");
    if (equals < 0) problems.push(`flag: --set ${flag} is not of the form section.key=value`);
    else values[flag.slice(0, equals)] = literal(flag.slice(0, equals), flag.slice(equals + 1));
  }
  return values;
}

function variableName(path: string): string {
  const [section = "", key = ""] = path.split(".", 2);
  return `VDB_${section.toUpperCase()}__${key.replace(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase()}`;
}

/** Text of a variable or flag, as the type that the setting's default has. */
function literal(path: string, text: string): unknown {
  const [section = "", key = ""] = path.split(".", 2);
  const defaults = Config.parse({}) as Record<string, Record<string, unknown>>;
  const fallback = defaults[section]?.[key];
  if (typeof fallback === "boolean" && (text === "true" || text === "false")) return text === "true";
  if (typeof fallback !== "number" || text.trim() === "") return text;
  const number = Number(text);
  // Not a number at all: as text, the schema says so.
  return Number.isNaN(number) ? text : number;
}
