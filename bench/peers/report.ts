/** The comparison as text: a block for each peer's load, a line for each of its searches. */
import type { PeerResult } from "./measure.ts";

export function report(results: readonly PeerResult[]): string {
  const lines = ["peer             keeps  load       ef    recall@10      QPS   p50 ms   p99 ms   cpu ms"];
  for (const { peer, searches = [] } of results) {
    for (const s of searches) {
      const load = `${s.clients} ${s.clients === 1 ? s.unit.slice(0, -1) : s.unit}`;
      lines.push(
        [
          peer.padEnd(15),
          `${s.keeps} %`.padStart(6),
          ` ${load.padEnd(9)}`,
          String(s.ef).padStart(4),
          s.recallAt10.toFixed(4).padStart(11),
          s.qps.toFixed(0).padStart(9),
          (s.p50Ms?.toFixed(2) ?? "-").padStart(8),
          (s.p99Ms?.toFixed(2) ?? "-").padStart(8),
          s.cpuMs.toFixed(2).padStart(8),
        ].join(" "),
      );
    }
  }
  const described: string[] = [];
  lines.push(
    "",
    "peer             rows/s   indexed s   cpu s   peak MiB   insert to found: p50, p99 ms, missed of 200",
  );
  for (const { peer, skipped, description, insertRowsPerSecond, peakMiB, insertToFound, ...times } of results) {
    if (skipped !== undefined) lines.push(`${peer.padEnd(15)} skipped: ${skipped}`);
    else {
      const rate = insertRowsPerSecond === undefined ? "-" : insertRowsPerSecond.toFixed(0);
      const { indexedSeconds = 0, indexedCpuSeconds = 0 } = times;
      const seconds = `${indexedSeconds.toFixed(1).padStart(11)} ${indexedCpuSeconds.toFixed(0).padStart(7)}`;
      const numbers = `${rate.padStart(7)} ${seconds} ${String(peakMiB).padStart(10)}`;
      const fresh =
        insertToFound === undefined
          ? "-"
          : `${insertToFound.p50Ms.toFixed(1)}  ${insertToFound.p99Ms.toFixed(1)}  ${insertToFound.missed}`;
      lines.push(`${peer.padEnd(15)} ${numbers}   ${fresh}`);
      described.push(`${peer.padEnd(15)} ${description}`);
    }
  }
  return [...lines, "", ...described].join("\n");
}
