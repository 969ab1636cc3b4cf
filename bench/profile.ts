/** A CPU profile of a process by V8's own sampler, summed by function. */
import { Session } from "node:inspector/promises";

export interface ProfileRow {
  function: string;
  percent: number;
}

/** The functions with the most time of their own while `work` runs, largest first. Idle time is left out of the sum. */
export async function topFunctions(
  work: () => Promise<unknown>,
  count = 10,
): Promise<{ idlePercent: number; top: ProfileRow[] }> {
  const session = new Session();
  session.connect();
  await session.post("Profiler.enable");
  await session.post("Profiler.setSamplingInterval", { interval: 500 });
  await session.post("Profiler.start");
  await work();
  const { profile } = await session.post("Profiler.stop");
  session.disconnect();
  const nameOf = new Map(
    profile.nodes.map(({ id, callFrame }) => {
      const file = callFrame.url.split("/").slice(-2).join("/");
      return [
        id,
        `${callFrame.functionName || "(anonymous)"}${file === "" ? "" : ` ${file}:${callFrame.lineNumber + 1}`}`,
      ];
    }),
  );
  const times = new Map<string, number>();
  let total = 0;
  let idle = 0;
  (profile.samples ?? []).forEach((id, i) => {
    const time = profile.timeDeltas?.[i] ?? 0;
    const name = nameOf.get(id) ?? "?";
    total += time;
    if (name === "(idle)") idle += time;
    else times.set(name, (times.get(name) ?? 0) + time);
  });
  const busy = Math.max(1, total - idle);
  const top = [...times]
    .sort((a, b) => b[1] - a[1])
    .slice(0, count)
    .map(([name, time]) => ({ function: name, percent: (100 * time) / busy }));
  return { idlePercent: (100 * idle) / Math.max(1, total), top };
}
