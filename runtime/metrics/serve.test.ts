import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, describe, expect, test } from "vitest";
import { createLogger } from "../logger.ts";
import { readScrapes } from "../testing/prometheus.ts";
import { PROJECT_FOLDER } from "../version.ts";
import { type Figures, METRICS } from "./metrics.ts";
import { type MetricsServer, renderMetrics, serveMetrics } from "./serve.ts";

const logger = createLogger({ level: "silent" });

describe("the text", () => {
  test("has each figure with its labels, whatever is in them", async () => {
    const odd = 'a "b"\\c\nd';
    const text = await renderMetrics([
      { vdb_collections: 3, vdb_nodes: [[{ role: odd }, 2]] },
      { vdb_nodes: [[{ role: "query" }, 5]] },
    ]);
    const scrape = readScrapes([text]);
    expect(scrape.sum("vdb_collections")).toBe(3);
    expect(scrape.sum("vdb_nodes", { role: odd })).toBe(2);
    expect(scrape.sum("vdb_nodes")).toBe(7);
    expect(scrape.types.get("vdb_nodes")).toBe("gauge");
    expect(scrape.types.has("vdb_segments")).toBe(false);
  });

  test("has a distribution as buckets that include those before", async () => {
    const durations = { bounds: [0.001, 0.01], counts: [3, 0, 2], sum: 1.5 };
    const text = await renderMetrics([{ vdb_request_duration_seconds: [[{ role: "proxy" }, durations]] }]);
    const scrape = readScrapes([text]);
    const bucket = (le: string) => scrape.sum("vdb_request_duration_seconds_bucket", { role: "proxy", le });
    expect(["0.001", "0.01", "+Inf"].map(bucket)).toEqual([3, 3, 5]);
    expect(scrape.sum("vdb_request_duration_seconds_sum")).toBe(1.5);
    expect(scrape.sum("vdb_request_duration_seconds_count")).toBe(5);
  });

  test("has what is known of the process", async () => {
    const scrape = readScrapes([await renderMetrics([])]);
    expect(scrape.sum("process_cpu_seconds_total")).toBeGreaterThan(0);
    expect(scrape.sum("process_resident_memory_bytes")).toBeGreaterThan(1e6);
    expect(scrape.sum("nodejs_eventloop_lag_p99_seconds")).not.toBeUndefined();
  });
});

test("the documentation lists every metric", () => {
  const page = readFileSync(join(PROJECT_FOLDER, "docs/operations.md"), "utf8");
  const told = new Set(page.match(/\bvdb_[a-z_]+\b/g));
  expect(Object.keys(METRICS).filter((name) => !told.has(name))).toEqual([]);
});

describe("the port", () => {
  let server: MetricsServer;
  afterEach(() => server?.[Symbol.asyncDispose]());

  async function open(figures: () => Figures[], isDraining = () => false): Promise<void> {
    server = await serveMetrics({ listen: "127.0.0.1:0", figures, isDraining, logger });
  }
  const get = async (path: string, init?: RequestInit) => {
    const response = await fetch(`http://${server.address}${path}`, init);
    return { status: response.status, type: response.headers.get("content-type"), text: await response.text() };
  };

  test("asks for figures at each look", async () => {
    let collections = 0;
    await open(() => [{ vdb_collections: ++collections }]);
    for (const expected of [1, 2]) {
      const { status, type, text } = await get("/metrics");
      expect({ status, type }).toEqual({ status: 200, type: "text/plain; version=0.0.4; charset=utf-8" });
      expect(readScrapes([text]).sum("vdb_collections")).toBe(expected);
    }
  });

  test("says whether the node is to leave", async () => {
    let isDraining = false;
    await open(
      () => [],
      () => isDraining,
    );
    expect(await get("/healthz")).toMatchObject({ status: 200, text: "OK" });
    isDraining = true;
    expect(await get("/healthz")).toMatchObject({ status: 503 });
  });

  test("has nothing else, and goes on when figures cannot be told", async () => {
    let isBroken = true;
    await open(() => {
      if (isBroken) throw new Error("not now");
      return [];
    });
    expect(await get("/metrics")).toMatchObject({ status: 500 });
    isBroken = false;
    expect(await get("/metrics")).toMatchObject({ status: 200 });
    expect(await get("/")).toMatchObject({ status: 404 });
    expect(await get("/metrics", { method: "POST" })).toMatchObject({ status: 405 });
  });

  test("is refused where there is none, by the setting's name", async () => {
    const listen = (address: string) =>
      serveMetrics({ listen: address, figures: () => [], isDraining: () => false, logger });
    await expect(listen("9091")).rejects.toThrow(/node\.metrics must be HOST:PORT/);
    await open(() => []);
    await expect(listen(server.address)).rejects.toThrow(/node\.metrics: .*EADDRINUSE/);
  });
});
