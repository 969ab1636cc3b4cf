/**
 * Processor time of a process and everything below it, from /proc; Linux only, 0 elsewhere. Unlike a rate it hardly depends on
 * other work of the machine.
 */
import { readFileSync } from "node:fs";
import { processTree } from "./memory.ts";

/** Linux's USER_HZ, whatever the kernel's own tick is. */
const TICKS_PER_SECOND = 100;

/** Since their start, for the living processes and the children that they have waited for. */
export function cpuSeconds(rootPid: number): number {
  return processTree(rootPid).reduce((sum, { pid }) => sum + ticksOf(pid) / TICKS_PER_SECOND, 0);
}

function ticksOf(pid: number): number {
  try {
    // The second field is the name in brackets, which may hold spaces and brackets. The 12th to 15th after it are
    // user and system time, its own and of the children it waited for.
    const fields = readFileSync(`/proc/${pid}/stat`, "utf8")
      .replace(/^.*\) /s, "")
      .split(" ");
    return fields.slice(11, 15).reduce((sum, ticks) => sum + Number(ticks), 0);
  } catch {
    return 0;
  }
}
