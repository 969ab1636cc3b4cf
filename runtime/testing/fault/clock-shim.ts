/**
 * Preloaded into a process (node --import) to make its wall clock jump: SIGUSR2 has it read the offset, in milliseconds,
 * from the file that VDB_CLOCK_OFFSET_FILE names. Monotonic time and timers are left alone, as a real step leaves them.
 */
import { readFileSync } from "node:fs";

const file = process.env.VDB_CLOCK_OFFSET_FILE;
if (file !== undefined) {
  const realNow = Date.now.bind(Date);
  let offsetMs = 0;
  Date.now = () => realNow() + offsetMs;
  globalThis.Date = new Proxy(Date, {
    construct: (target, args, newTarget) =>
      Reflect.construct(target, args.length === 0 ? [realNow() + offsetMs] : args, newTarget),
  });
  const read = () => {
    try {
      offsetMs = Number(readFileSync(file, "utf8")) || 0;
    } catch {
      offsetMs = 0;
    }
  };
  process.on("SIGUSR2", read);
}
