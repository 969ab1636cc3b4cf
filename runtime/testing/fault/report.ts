/** Results of several runs as one table, in Markdown. */
import { groupBy } from "../../lists.ts";
import type { ChaosResult, FaultResult } from "./run-chaos.ts";

export function reportTable(results: readonly ChaosResult[]): string {
  const faults = results.flatMap((result) => result.faults);
  const byName = groupBy(faults, ({ name }) => name);
  const names = [...byName.keys()].sort((a, b) => (a < b ? -1 : 1));
  const rows = names.map((name) => {
    const faults = byName.get(name)!;
    const of = (pick: (fault: FaultResult) => number | null) => medianAndWorst(faults.map(pick));
    const columns = [
      name,
      String(faults.length),
      of(({ writableMs }) => writableMs),
      of(({ searchableMs }) => searchableMs),
      of(({ healedWritableMs }) => healedWritableMs),
      of(({ longestWriteMs }) => longestWriteMs),
      of(({ longestReadMs }) => longestReadMs),
      String(faults.reduce((sum, { failedCalls }) => sum + failedCalls, 0)),
    ];
    return `| ${columns.join(" | ")} |`;
  });
  return [
    "| fault | times | writes again | searches again | writes, from its end | longest write | longest read | failed calls |",
    "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ...rows,
    "",
    totals(results),
  ].join("\n");
}

/** Seconds: "0.3 / 2.1". */
function medianAndWorst(times: readonly (number | null)[]): string {
  const sorted = times.map((ms) => ms ?? Number.POSITIVE_INFINITY).sort((a, b) => a - b);
  const text = (ms: number) => (ms === Number.POSITIVE_INFINITY ? "never" : (ms / 1000).toFixed(1));
  return `${text(sorted[Math.floor((sorted.length - 1) / 2)]!)} / ${text(sorted.at(-1)!)}`;
}

function totals(results: readonly ChaosResult[]): string {
  const sum = (pick: (result: ChaosResult) => number) => results.reduce((total, result) => total + pick(result), 0);
  const operations = sum((result) => Object.values(result.operations).reduce((a, b) => a + b, 0));
  const isClustered = results.some(({ natsServers }) => natsServers === 3);
  return (
    `${results.length} runs (seeds ${results.map(({ seed }) => seed).join(", ")}), ${sum(({ minutes }) => minutes)} minutes of faults${isClustered ? " on a NATS cluster of three" : ""}: ` +
    `${sum(({ faults }) => faults.length)} faults, ${operations} operations checked, ${sum(({ unknownOutcomes }) => unknownOutcomes)} of unknown outcome, ` +
    `${sum(({ violations }) => violations.length)} violations, ${sum(({ problems }) => problems.length)} problems, ` +
    `${sum(({ unexpectedExits }) => unexpectedExits.length)} processes that ended by themselves.`
  );
}
