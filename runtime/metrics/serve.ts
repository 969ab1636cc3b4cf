/**
 * A node's port for those who watch it: `GET /metrics` in Prometheus's text format, `GET /healthz` as on a proxy's port.
 * Figures are asked for when somebody looks, once for each look; between looks nothing runs for it but what prom-client
 * measures of the process.
 */
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { collectDefaultMetrics, type Metric, Registry } from "prom-client";
import { errorMessage, VdbError } from "../errors.ts";
import { hostAndPort, listenAddress } from "../listen-address.ts";
import type { Logger } from "../logger.ts";
import { type Distribution, type Figures, METRICS, type MetricName, mergeFigures, type Sample } from "./metrics.ts";

/** Who watches is few: more are closed as they come. */
const CONNECTIONS_MAX = 64;
const REQUEST_MS = 10_000;
/** How often the event loop's delay is taken, and what it is at rest: each time wakes the process, at 10 ms for 0.5 % of a core. */
const LOOP_DELAY_MS = 20;

export interface MetricsServer extends AsyncDisposable {
  /** HOST:PORT as bound. */
  readonly address: string;
}

/** @throws VdbError invalid_parameter for what is no address, unavailable when it cannot be bound */
export async function serveMetrics(options: {
  /** HOST:PORT */
  listen: string;
  figures: () => readonly Figures[];
  isDraining: () => boolean;
  logger: Logger;
}): Promise<MetricsServer> {
  const { listen, figures, isDraining, logger } = options;
  const { host, port } = listenAddress("node.metrics", listen);
  const look = async () => renderMetrics(figures());
  const server = createServer((request, response) => {
    const answer = (status: number, contentType: string, body: string) => {
      response.writeHead(status, { "content-type": contentType, "content-length": Buffer.byteLength(body) });
      response.end(request.method === "HEAD" ? undefined : body);
    };
    const path = request.url?.split("?")[0];
    if (request.method !== "GET" && request.method !== "HEAD") answer(405, "text/plain", "GET only\n");
    else if (path === "/healthz") answer(isDraining() ? 503 : 200, "text/plain", isDraining() ? "draining" : "OK");
    else if (path !== "/metrics") answer(404, "text/plain", "404 page not found\n");
    else {
      look().then(
        (text) => answer(200, Registry.PROMETHEUS_CONTENT_TYPE, text),
        (error: unknown) => {
          logger.error({ err: error }, "metrics could not be told");
          answer(500, "text/plain", "metrics could not be told, see the log\n");
        },
      );
    }
  });
  server.maxConnections = CONNECTIONS_MAX;
  server.requestTimeout = REQUEST_MS;
  server.headersTimeout = REQUEST_MS;
  await new Promise<void>((resolve, reject) => {
    server.once("error", (error) => reject(new VdbError("unavailable", `node.metrics: ${errorMessage(error)}`)));
    server.listen(port, host, resolve);
  });
  return {
    address: hostAndPort(host, (server.address() as AddressInfo).port),
    [Symbol.asyncDispose]: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

/** What there are figures for, then those of the process. */
export async function renderMetrics(figures: readonly Figures[]): Promise<string> {
  const registry = new Registry();
  for (const [name, samples] of mergeFigures(figures)) {
    const metric = { name, get: async () => ({ name, ...METRICS[name], values: valuesOf(name, samples) }) };
    // A metric that keeps no state of its own: all that a registry needs of one.
    registry.registerMetric(metric as unknown as Metric);
  }
  return `${await registry.metrics()}\n${await processMetrics().metrics()}`;
}

let ofProcess: Registry | undefined;

/** CPU, memory, files, event loop delay, garbage collection: once for a process, however many nodes it hosts. */
function processMetrics(): Registry {
  if (ofProcess === undefined) {
    ofProcess = new Registry();
    collectDefaultMetrics({ register: ofProcess, eventLoopMonitoringPrecision: LOOP_DELAY_MS });
  }
  return ofProcess;
}

interface Value {
  metricName?: string;
  labels: Record<string, string | number>;
  value: number;
}

function valuesOf(name: MetricName, samples: readonly Sample[]): Value[] {
  return samples.flatMap(([labels, value]) =>
    typeof value === "number" ? [{ labels, value }] : valuesOfDistribution(name, labels, value),
  );
}

function valuesOfDistribution(
  name: MetricName,
  labels: Readonly<Record<string, string>>,
  { bounds, counts, sum }: Distribution,
): Value[] {
  let count = 0;
  const buckets = [...bounds, "+Inf"].map((le, i) => {
    count += counts[i]!;
    return { metricName: `${name}_bucket`, labels: { ...labels, le }, value: count };
  });
  return [
    ...buckets,
    { metricName: `${name}_sum`, labels, value: sum },
    { metricName: `${name}_count`, labels, value: count },
  ];
}
