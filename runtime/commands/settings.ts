/** The options that all commands share, and the settings they make together with file and environment. */
import type { Command } from "commander";
import { type LoadedConfig, loadConfig } from "../config/load.ts";
import { errorMessage } from "../errors.ts";
import { UsageError } from "./usage-error.ts";

export interface SettingsOptions {
  config?: string;
  set?: string[];
  nats?: string;
  user?: string;
  passwordFile?: string;
  prefix?: string;
}

/** Where NATS is and who we are there. */
export function addConnectionOptions(command: Command): Command {
  return addSettingsOptions(command)
    .option("--nats <urls>", "NATS servers, comma-separated (setting nats.servers)")
    .option("--user <name>", "NATS user (setting nats.user)")
    .option("--password-file <file>", "file that holds the user's password (setting nats.passwordFile)")
    .option("--prefix <name>", "the cluster's prefix on NATS (setting nats.prefix)");
}

export function addSettingsOptions(command: Command): Command {
  return command
    .option("--config <file>", "settings file (YAML)")
    .option("--set <section.key=value>", "a setting; may be given many times", collect);
}

function collect(value: string, before: string[] = []): string[] {
  return [...before, value];
}

/** Settings of file, environment and options. `defaults` give way to `--set`, not to file and environment. @throws UsageError */
export function loadSettings(options: SettingsOptions, defaults: string[] = []): LoadedConfig {
  const { config: file, set = [], nats, user, passwordFile, prefix } = options;
  const flags = [...defaults, ...set];
  if (nats !== undefined) flags.push(`nats.servers=${nats}`);
  if (user !== undefined) flags.push(`nats.user=${user}`);
  if (passwordFile !== undefined) flags.push(`nats.passwordFile=${passwordFile}`);
  if (prefix !== undefined) flags.push(`nats.prefix=${prefix}`);
  try {
    return loadConfig({ environment: process.env, flags, ...(file === undefined ? {} : { file }) });
  } catch (error) {
    throw new UsageError(errorMessage(error));
  }
}

/** A whole number of an option, for commander. @throws UsageError */
export function wholeNumber(name: string, min: number, max = Number.MAX_SAFE_INTEGER): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (text.trim() !== "" && Number.isInteger(value) && value >= min && value <= max) return value;
    const range = max === Number.MAX_SAFE_INTEGER ? `${min} or more` : `${min} to ${max}`;
    throw new UsageError(`${name} takes a whole number, ${range}, got ${JSON.stringify(text)}`);
  };
}
