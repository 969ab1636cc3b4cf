/** A node whose every connection is TLS: to a NATS server that asks for certificates, and to its users. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { MilvusClient } from "@zilliz/milvus2-sdk-node";
import { expect, onTestFinished, test } from "vitest";
import { VdbClient } from "../../client/client.ts";
import { ROLES } from "../../runtime/actor.ts";
import { collectStatus } from "../../runtime/commands/status/collect.ts";
import { loadConfig } from "../../runtime/config/load.ts";
import { createLogger } from "../../runtime/logger.ts";
import { startNatsServer } from "../../runtime/nats/server.ts";
import { startNode } from "../../runtime/node.ts";
import { readScrapes } from "../../runtime/testing/prometheus.ts";
import { PROJECT_FOLDER } from "../../runtime/version.ts";

const file = (name: string) => join(PROJECT_FOLDER, "test/grpc/tls", name);

const NATS_TLS = `tls {
  cert_file: "${file("server.pem")}"
  key_file: "${file("server-key.pem")}"
  ca_file: "${file("ca.pem")}"
  verify: true
  timeout: 60
}`;

test("rows are written, flushed, searched over TLS alone, also after the NATS server was restarted", async () => {
  const dataDir = await mkdtemp(join(tmpdir(), "vdb-tls-"));
  onTestFinished(() => rm(dataDir, { recursive: true, force: true }));
  let server = await startNatsServer({ dataDir: join(dataDir, "nats"), port: 0, config: NATS_TLS });
  onTestFinished(() => server.stop());
  const servers = server.url.replace("nats:", "tls:");
  const { config } = loadConfig({
    flags: [
      `nats.servers=${servers}`,
      `nats.tlsCaFile=${file("ca.pem")}`,
      `nats.tlsCertFile=${file("client.pem")}`,
      `nats.tlsKeyFile=${file("client-key.pem")}`,
      `node.dataDir=${join(dataDir, "node")}`,
      "node.leaseSeconds=10",
      "node.drainTimeoutMs=2000",
      "node.metrics=127.0.0.1:0",
      "cluster.walBytesMax=268435456",
      "proxy.http=127.0.0.1:0",
      `proxy.tlsCertFile=${file("server.pem")}`,
      `proxy.tlsKeyFile=${file("server-key.pem")}`,
    ],
  });
  const node = await startNode({ roles: ROLES, config, logger: createLogger({ level: "fatal" }) });
  onTestFinished(() => node.stop());

  const tls = { caFile: file("ca.pem"), certFile: file("client.pem"), keyFile: file("client-key.pem") };
  const client = await VdbClient.connect({ servers, tls, timeoutMs: 120_000 });
  onTestFinished(() => client.close());
  const collectionName = "books";
  await client.createCollection({ collectionName, dimension: 64 });
  const vectorOf = (id: number) => Array.from({ length: 64 }, (_, i) => Math.sin(id * 64 + i));
  // Enough for an object that crosses the bulk connection in large messages.
  await client.insert({
    collectionName,
    data: Array.from({ length: 2_000 }, (_, id) => ({ id, vector: vectorOf(id) })),
  });
  await client.flush({ collectionName });

  const { http } = node.observe().proxy as { http: string };
  const users = new MilvusClient({
    address: http.replace("127.0.0.1", "localhost"),
    ssl: true,
    tls: { rootCertPath: file("ca.pem") },
    timeout: 120_000,
    logLevel: "error",
  });
  onTestFinished(async () => void (await users.closeConnection()));
  await users.connectPromise;
  const nearest = async (id: number) => {
    const { status, results } = await users.search({ collection_name: collectionName, data: vectorOf(id), limit: 1 });
    expect(status.code).toBe(0);
    return Number(results[0]?.id);
  };
  expect(await nearest(1_234)).toBe(1_234);

  const { port } = server;
  await server.stop();
  server = await startNatsServer({ dataDir: join(dataDir, "nats"), port, config: NATS_TLS });
  await client.insert({ collectionName, data: [{ id: 5_000, vector: vectorOf(5_000) }] });
  expect(await nearest(5_000)).toBe(5_000);
  const connections = async () => {
    const scrape = readScrapes([await (await fetch(`http://${node.metrics}/metrics`)).text()]);
    return ["control", "requests", "wal", "bulk"].map((connection) => ({
      isConnected: scrape.sum("vdb_nats_connected", { connection }) === 1,
      isBack: scrape.sum("vdb_nats_reconnects_total", { connection }) > 0,
    }));
  };
  const allBack = Array.from({ length: 4 }, () => ({ isConnected: true, isBack: true }));
  await expect.poll(connections).toEqual(allBack);
  await expect
    .poll(async () => (await collectStatus(config)).collections)
    .toMatchObject([{ name: collectionName, segments: { flushed: 1 } }]);
});
