/** What a node knows of the requests that it was asked: the one place that counts them, for `$SRV.STATS` and for metrics. */
import type { VdbError } from "../errors.ts";
import type { Distribution, Figures, Sample } from "../metrics/metrics.ts";

/** Upper bounds, milliseconds: two or three a decade, from what an index in memory takes to the longest deadlines. */
const BOUNDS_MS = [0.25, 0.5, 1, 2.5, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 30_000];
const BOUNDS = BOUNDS_MS.map((ms) => ms / 1_000);

export class ServedStats {
  requests = 0;
  processingMs = 0;
  lastError = "";
  readonly errorsByKind = new Map<string, number>();
  /** Of the answered ones: by bound, and one more for what took longer. */
  readonly #durations = new Array<number>(BOUNDS_MS.length + 1).fill(0);

  get errors(): number {
    return sumOf(this.errorsByKind.values());
  }

  get answered(): number {
    return sumOf(this.#durations);
  }

  get durations(): Distribution {
    return { bounds: BOUNDS, counts: this.#durations, sum: this.processingMs / 1_000 };
  }

  failed({ kind, message }: VdbError): void {
    this.lastError = message;
    this.errorsByKind.set(kind, (this.errorsByKind.get(kind) ?? 0) + 1);
  }

  took(ms: number): void {
    this.processingMs += ms;
    let bound = 0;
    while (bound < BOUNDS_MS.length && ms > BOUNDS_MS[bound]!) bound++;
    this.#durations[bound]!++;
  }
}

/** By the declared subject of each operation. What was never asked for is left out. */
export function requestFigures(stats: ReadonlyMap<string, ServedStats>): Figures {
  const durations: Sample[] = [];
  const errors: Sample[] = [];
  const inFlight: Sample[] = [];
  for (const [subject, served] of stats) {
    if (served.requests === 0) continue;
    const labels = labelsOf(subject);
    durations.push([labels, served.durations]);
    inFlight.push([labels, served.requests - served.answered]);
    for (const [kind, count] of served.errorsByKind) errors.push([{ ...labels, kind }, count]);
  }
  return {
    vdb_request_duration_seconds: durations,
    vdb_request_errors_total: errors,
    vdb_requests_in_flight: inFlight,
  };
}

/** "v2.entities.search" is the proxy's "entities.search", "query.{nodeId}.search" the query nodes' "search". */
function labelsOf(subject: string): { role: string; operation: string } {
  const [role = "", ...rest] = subject.split(".").filter((token) => !token.startsWith("{"));
  return { role: role === "v2" ? "proxy" : role, operation: rest.join(".") };
}

function sumOf(counts: Iterable<number>): number {
  let sum = 0;
  for (const count of counts) sum += count;
  return sum;
}
