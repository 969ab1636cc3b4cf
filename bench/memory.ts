/** Peak resident memory of a process and everything below it, read from /proc; Linux only, empty elsewhere. */
import { readdirSync, readFileSync } from "node:fs";

export interface PeakMemory {
  process: string;
  peakMiB: number;
}

/** Samples twice a second, because children come and go; the kernel's own high-water mark covers the time in between. */
export function watchMemory(rootPid: number): { soFar(): PeakMemory[]; stop(): PeakMemory[] } {
  const peaks = new Map<string, number>();
  const sample = () => {
    for (const { pid, label } of processTree(rootPid)) {
      const peak = highWaterMark(pid);
      if (peak > (peaks.get(label) ?? 0)) peaks.set(label, peak);
    }
  };
  const timer = setInterval(sample, 500);
  const soFar = () => {
    sample();
    return [...peaks].map(([process, kib]) => ({ process, peakMiB: Math.round(kib / 1024) }));
  };
  return {
    soFar,
    stop() {
      clearInterval(timer);
      return soFar();
    },
  };
}

/**
 * The most memory that a process and everything below it had at one time, in MiB, sampled twice a second: the private memory of
 * each, and the largest part of the pages that they share.
 */
export function watchTotalMemory(rootPid: number): { startMiB: number; stop(): number } {
  const startMiB = totalMiB(rootPid);
  let peak = startMiB;
  const sample = () => {
    peak = Math.max(peak, totalMiB(rootPid));
  };
  const timer = setInterval(sample, 500);
  timer.unref();
  return {
    startMiB,
    stop() {
      clearInterval(timer);
      sample();
      return peak;
    },
  };
}

function totalMiB(rootPid: number): number {
  let own = 0;
  let shared = 0;
  for (const { pid } of processTree(rootPid)) {
    const status = readText(`/proc/${pid}/status`);
    const kib = (field: string) => Number(new RegExp(`^${field}:\\s+(\\d+)`, "m").exec(status)?.[1] ?? 0);
    own += kib("RssAnon");
    shared = Math.max(shared, kib("RssFile") + kib("RssShmem"));
  }
  return Math.round((own + shared) / 1024);
}

/** The process and everything below it, now. */
export function processTree(rootPid: number): { pid: number; label: string }[] {
  const children = new Map<number, number[]>();
  for (const name of readProc("/proc")) {
    const pid = Number(name);
    const parent = Number(/^PPid:\s+(\d+)/m.exec(readText(`/proc/${pid}/status`))?.[1]);
    if (!Number.isInteger(pid) || Number.isNaN(parent)) continue;
    children.set(parent, [...(children.get(parent) ?? []), pid]);
  }
  const found: { pid: number; label: string }[] = [];
  const visit = (pid: number) => {
    found.push({ pid, label: labelOf(pid) });
    for (const child of children.get(pid) ?? []) visit(child);
  };
  visit(rootPid);
  return found;
}

/** A readable name: the role, the script, the program. */
function labelOf(pid: number): string {
  const words = readText(`/proc/${pid}/cmdline`).split("\0");
  const role = words.find((word) => word.startsWith("--role="));
  if (role !== undefined) return role.slice("--role=".length);
  const script = words.find((word) => /\.[jt]s$/.test(word));
  return (script ?? words[0] ?? "?").split("/").at(-1) ?? "?";
}

function highWaterMark(pid: number): number {
  return Number(/^VmHWM:\s+(\d+)/m.exec(readText(`/proc/${pid}/status`))?.[1] ?? 0);
}

function readProc(path: string): string[] {
  try {
    return readdirSync(path).filter((name) => /^\d+$/.test(name));
  } catch {
    return [];
  }
}

function readText(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}
