/**
 * Child processes that run one of our own modules: the wall around native code, which may crash or leak.
 *
 * Works from the sources (`.ts`, under tsx or vitest) and from `dist` (`.js`): a child is the same kind of file as this
 * module. A child never outlives its parent, since it first of all calls `exitWithParent`.
 */
import { type ChildProcess, fork, type StdioOptions } from "node:child_process";
import { createRequire } from "node:module";

export interface ForkOptions {
  args?: readonly string[];
  /** Added to this process's environment. */
  env?: Readonly<Record<string, string>>;
  execArgv?: readonly string[];
  /** Streams beyond stdin (none), stdout (none) and stderr (a pipe, for `stderrTail`): their fd in the child is 4 and up. */
  pipes?: number;
}

/** First fd of `ForkOptions.pipes` in the child: 0 to 2 are the usual ones, 3 is the message channel. */
export const FIRST_PIPE_FD = 4;

/** 4 KiB: room for what FAISS and the C++ runtime print when they abort, and for a JavaScript stack. */
const STDERR_TAIL_BYTES = 4096;

const runsFromSource = import.meta.url.endsWith(".ts");

/**
 * Forks a module given by the URL of its source (`new URL("./x.ts", import.meta.url)`). Messages are structured
 * clones (serialization "advanced": typed arrays arrive as typed arrays).
 */
export function forkModule(source: URL, options: ForkOptions = {}): ChildProcess {
  const module = new URL(source);
  if (!runsFromSource) module.pathname = module.pathname.replace(/\.ts$/, ".js");
  // Resolved from here, not from the working directory: a node may be started anywhere.
  const loader = runsFromSource ? ["--import", createRequire(import.meta.url).resolve("tsx")] : [];
  const stdio: StdioOptions = ["ignore", "ignore", "pipe", "ipc"];
  for (let i = 0; i < (options.pipes ?? 0); i++) stdio.push("pipe");
  return fork(module, options.args ?? [], {
    serialization: "advanced",
    stdio,
    env: { ...process.env, ...options.env },
    execArgv: [...loader, ...(options.execArgv ?? [])],
  });
}

/** In a child: exits when the parent is gone, however it went. */
export function exitWithParent(): void {
  process.on("disconnect", () => process.exit(0));
}

/** Keeps the end of what a child prints to stderr: an abort says there what happened. */
export function stderrTail(child: ChildProcess): () => string {
  let tail = "";
  child.stderr?.setEncoding("utf8");
  child.stderr?.on("data", (text: string) => {
    tail = (tail + text).slice(-STDERR_TAIL_BYTES);
  });
  return () => tail.trim();
}

/** How a child ended, in words, with the end of its stderr. */
export function describeExit(code: number | null, signal: NodeJS.Signals | null, stderr: string): string {
  const how = signal === null ? `exited with code ${code}` : `was killed by ${signal}`;
  return stderr === "" ? how : `${how}: ${stderr}`;
}
