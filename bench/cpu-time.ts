/**
 * Processor time of a process and everything below it, from /proc; Linux only, 0 elsewhere. Unlike a rate it says the same
 * on a machine that has other work.
 */
import { readFileSync } from "node:fs";
import { processTree } from "./memory.ts";

/** Linux's USER_HZ, whatever the kernel's own tick is. */
const TICKS_PER_SECOND = 100;

/** Of those that live now and of children that they saw end, since they began. */
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
