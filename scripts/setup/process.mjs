// Child processes and messages for the setup steps. Node built-ins only: this runs before node_modules exists.
import { spawnSync } from "node:child_process";
import { accessSync, constants } from "node:fs";
import { delimiter, join } from "node:path";

/** Ends the setup; its message says what failed and what to do about it. */
export class SetupError extends Error {}

/** Prints one line of progress, such as `setup  nats-server   2.15.1 ready`. */
export function say(step, text) {
  console.log(`setup  ${step.padEnd(12)}  ${text}`);
}

/**
 * Runs a program without a shell and collects what it prints.
 * `ok` is false for a non-zero exit, a time-out or a program that is not there; `output` is stdout and stderr together.
 */
export function run(program, args, options = {}) {
  const { timeoutMs = 60_000, env = {}, ...rest } = options;
  const result = spawnSync(program, args, {
    encoding: "utf8",
    // apt and dpkg translate their messages, and some are parsed.
    env: { ...process.env, LC_ALL: "C", ...env },
    maxBuffer: 64 * 1024 * 1024,
    timeout: timeoutMs,
    killSignal: "SIGKILL",
    stdio: ["ignore", "pipe", "pipe"],
    ...rest,
  });
  const stdout = result.stdout ?? "";
  const ranOut = result.error?.code === "ETIMEDOUT";
  const reason = ranOut ? `no answer in ${timeoutMs / 1000} s` : (result.error?.message ?? "");
  return { ok: result.status === 0, stdout, output: [stdout, result.stderr, reason].filter(Boolean).join("\n").trim() };
}

/** Finds every executable with one of these names on PATH, in PATH order. */
export function onPath(name, env = process.env) {
  const fileName = process.platform === "win32" ? `${name}.exe` : name;
  return (env.PATH ?? "")
    .split(delimiter)
    .filter(Boolean)
    .map((folder) => join(folder, fileName))
    .filter(isExecutable);
}

function isExecutable(path) {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/** The last lines of a program's output: where compilers and package managers put the reason. */
export function lastLines(text, count = 6) {
  return text.trim().split("\n").slice(-count).join("\n");
}

export function isRoot() {
  return process.getuid?.() === 0;
}
