/** TLS to NATS: who connects, and what the others are told. The certificates are of test/grpc/tls. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { VdbClient } from "../../client/client.ts";
import { loadConfig } from "../config/load.ts";
import { PROJECT_FOLDER } from "../version.ts";
import { connectNats } from "./connect.ts";
import { natsOptions } from "./options.ts";
import { type NatsServerProcess, startNatsServer } from "./server.ts";

const file = (name: string) => join(PROJECT_FOLDER, "test/grpc/tls", name);
const TRUSTING = [`nats.tlsCaFile=${file("ca.pem")}`];
const KNOWN = [...TRUSTING, `nats.tlsCertFile=${file("client.pem")}`, `nats.tlsKeyFile=${file("client-key.pem")}`];

let dataDir: string;
let server: NatsServerProcess | undefined;

beforeEach(async () => {
  dataDir = await mkdtemp(join(tmpdir(), "vdb-tls-"));
});
afterEach(async () => {
  await server?.stop();
  server = undefined;
  await rm(dataDir, { recursive: true, force: true });
});

/** tls: for a slow machine a `timeout`, in seconds, of more than the two that the server gives a handshake. */
async function serve(tls: string, host = "127.0.0.1", port = 0): Promise<string> {
  const config =
    tls === "" ? "" : `tls { cert_file: "${file("server.pem")}", key_file: "${file("server-key.pem")}", ${tls} }`;
  server = await startNatsServer({ dataDir, host, port, config });
  return `tls://${host}:${server.port}`;
}

/** By these settings: a message there and back on each connection. */
async function talk(servers: string, settings: string[]): Promise<void> {
  const { config } = loadConfig({ flags: [`nats.servers=${servers}`, ...settings] });
  const { close, ...connections } = await connectNats(natsOptions(config, "tls-test"));
  try {
    for (const connection of Object.values(connections)) {
      // Megabytes too: the bulk connection sends and receives them in ways of its own.
      const subscription = connection.subscribe("echo", { max: 1 });
      const sent = new Uint8Array(1 << 20).map((_, i) => i);
      connection.publish("echo", sent);
      for await (const { data } of subscription) expect(Buffer.compare(data, sent)).toBe(0);
    }
  } finally {
    await close();
  }
}

test("a server's certificate is checked by the authority that is named, for its address or its name", async () => {
  const url = await serve("timeout: 60");
  await talk(url, TRUSTING);
  await talk(url.replace("127.0.0.1", "localhost"), TRUSTING);
  // The server wants TLS, whether the URL says so or not.
  await talk(url.replace("tls:", "nats:"), TRUSTING);
});

test("a server whose certificate is for others is refused", async () => {
  const url = await serve("timeout: 60", "127.0.0.2");
  await expect(talk(url, TRUSTING)).rejects.toThrow(/127\.0\.0\.2 is not in the cert's list/);
});

test("a server whose authority is not trusted is refused, and the setting named", async () => {
  const url = await serve("timeout: 60");
  for (const settings of [[], [`nats.tlsCaFile=${file("client.pem")}`]]) {
    await expect(talk(url, settings)).rejects.toThrow(/cannot connect to NATS at tls:.*nats\.tlsCaFile/);
  }
  await expect(VdbClient.connect({ servers: url })).rejects.toThrow(/tls\.caFile/);
});

test("a server that asks for certificates gets the node's, and a client's", async () => {
  const url = await serve(`ca_file: "${file("ca.pem")}", verify: true, timeout: 5`);
  await talk(url, KNOWN);
  await expect(talk(url, TRUSTING)).rejects.toThrow(/nats\.tlsCertFile/);
  const tls = { caFile: file("ca.pem"), certFile: file("client.pem"), keyFile: file("client-key.pem") };
  await (await VdbClient.connect({ servers: url, tls })).close();
});

test("a server without TLS is refused where TLS is asked for", async () => {
  const url = await serve("");
  await expect(talk(url, [])).rejects.toThrow(/does not support 'tls'/);
  await expect(talk(url.replace("tls:", "nats:"), TRUSTING)).rejects.toThrow(/does not support 'tls'/);
  await expect(VdbClient.connect({ servers: [url] })).rejects.toThrow(/does not support 'tls'/);
});

test.for([
  ["nats.tlsCaFile", ["nats.tlsCaFile=/no/such/file"]],
  ["nats.tlsCaFile", [`nats.tlsCaFile=${file("README.md")}`]],
  ["nats.tlsCertFile", [...KNOWN, `nats.tlsCertFile=${file("README.md")}`]],
  ["nats.tlsKeyFile", [...KNOWN, "nats.tlsKeyFile=/no/such/file"]],
  ["nats.tlsKeyFile", [...KNOWN, `nats.tlsKeyFile=${file("server-key.pem")}`]],
  ["nats.tlsCertFile and nats.tlsKeyFile belong together", KNOWN.slice(0, 2)],
] as const)("a file that is not what it should be is told by %s (%#)", ([named, settings]) => {
  const { config } = loadConfig({ flags: [...settings] });
  expect(() => natsOptions(config, "tls-test")).toThrow(named);
});

test("a client's files are told by the client's names", async () => {
  await expect(VdbClient.connect({ servers: "nats://127.0.0.1:1", tls: { caFile: "/no/such/file" } })).rejects.toThrow(
    /^tls\.caFile: /,
  );
});
