/** `vdb-actor dev`: a NATS server and every role in this process, data in one folder. */
import { createHash } from "node:crypto";
import { once } from "node:events";
import { mkdir, realpath } from "node:fs/promises";
import { createServer, type Server } from "node:net";
import { join } from "node:path";
import type { Command } from "commander";
import { ROLES } from "../actor.ts";
import type { LoadedConfig } from "../config/load.ts";
import { createLogger } from "../logger.ts";
import { type NatsServerProcess, startNatsServer } from "../nats/server.ts";
import type { VdbNode } from "../node.ts";
import { listenForStop, runNode } from "./run-node.ts";
import { addSettingsOptions, loadSettings, type SettingsOptions, wholeNumber } from "./settings.ts";
import { UsageError } from "./usage-error.ts";
import { waitUntilUsable } from "./wait-until-usable.ts";

/** A lease of an earlier life must expire before this one leads, and its log is read again. */
const USABLE_TIMEOUT_MS = 120_000;

interface DevOptions extends SettingsOptions {
  data: string;
  http: string;
  natsPort: number;
  natsHost: string;
}

export function addDevCommand(program: Command): void {
  const command = program
    .command("dev")
    .summary("run a whole database in this process")
    .description(
      "Starts a NATS server and every role in this process, with all data in one folder. Prints a line that begins " +
        "with `ready` once it can be used. Ctrl-C stops it; killed, it comes back with its data.",
    )
    .option("--data <dir>", "folder of all data, made when missing", ".vdb")
    .option("--http <host:port>", "address of the HTTP API; port 0: any free port", "127.0.0.1:19530")
    .option(
      "--nats-port <port>",
      "port of the NATS server; 0: any free port",
      wholeNumber("--nats-port", 0, 65_535),
      4222,
    )
    .option(
      "--nats-host <host>",
      "address that the NATS server listens on; it asks nobody for a password",
      "127.0.0.1",
    );
  addSettingsOptions(command)
    .addHelpText(
      "after",
      `
Examples:
  vdb-actor dev
  vdb-actor dev --data /tmp/try --http 127.0.0.1:0 --nats-port 0
  curl -s http://127.0.0.1:19530/v2/vectordb/collections/list -d '{}'`,
    )
    .action(async (options: DevOptions) => {
      process.exitCode = await dev(options);
    });
}

async function dev(options: DevOptions): Promise<number> {
  checkSettings(options);
  await mkdir(options.data, { recursive: true });
  const dataDir = await realpath(options.data);
  const stop = listenForStop({ exitWithParent: false });
  const lock = await lockFolder(dataDir);
  const nats = await startNatsServer({
    dataDir: join(dataDir, "nats"),
    host: options.natsHost,
    port: options.natsPort,
  });
  try {
    // Told to stop while it started: nothing has been promised to anybody yet.
    const node = await Promise.race([startEverything(options, dataDir, nats), stop.requested]);
    if (typeof node === "string") return 0;
    const natsLost = nats.exited.then(
      () => new Error(`nats-server has ended, its log is ${join(dataDir, "nats", "nats.log")}`),
    );
    const ready = await Promise.race([waitUntilUsable(node, USABLE_TIMEOUT_MS), stop.requested, natsLost]);
    if (ready === undefined) console.log(readyLine(node, options, nats, dataDir));
    return await runNode(
      node,
      { requested: stop.requested, lost: natsLost },
      settingsOf(options, dataDir, nats).logger,
    );
  } finally {
    await nats.stop();
    lock?.close();
  }
}

/** Before anything is started: what is wrong with the call is said at once. @throws UsageError */
function checkSettings(options: DevOptions): void {
  const { config } = loadSettings(options);
  const { user, tlsCaFile, tlsCertFile } = config.nats;
  if (user !== "" || tlsCaFile !== "" || tlsCertFile !== "")
    throw new UsageError("dev starts its own NATS server without users and TLS: leave nats.user and nats.tls* out");
  if (!/^.*:\d+$/.test(options.http))
    throw new UsageError(`--http takes HOST:PORT, got ${JSON.stringify(options.http)}`);
}

function settingsOf(options: DevOptions, dataDir: string, nats: NatsServerProcess) {
  const loaded = loadSettings(options, [
    `nats.servers=nats://127.0.0.1:${nats.port}`,
    `node.dataDir=${join(dataDir, "node")}`,
    `proxy.http=${options.http}`,
  ]);
  return { config: loaded.config, logger: createLogger({ level: logLevel(loaded) }) };
}

/** A person watches this terminal: only what needs attention, unless something else was asked for. */
function logLevel({ config, sources }: LoadedConfig) {
  return sources.has("log.level") ? config.log.level : "warn";
}

async function startEverything(options: DevOptions, dataDir: string, nats: NatsServerProcess): Promise<VdbNode> {
  const { startNode } = await import("../node.ts");
  return await startNode({ roles: ROLES, ...settingsOf(options, dataDir, nats) });
}

function readyLine(node: VdbNode, options: DevOptions, nats: NatsServerProcess, dataDir: string): string {
  const bound = node.observe().proxy?.http;
  const http = typeof bound === "string" && bound !== "" ? bound : options.http;
  return `ready  http://${http}  ${nats.url}  data ${dataDir}`;
}

/**
 * Two of us on one folder would each stop the other's NATS server. An abstract socket is free the moment its holder is
 * dead, however it died; where there is none, the folder goes unguarded.
 */
async function lockFolder(dataDir: string): Promise<Server | undefined> {
  if (process.platform !== "linux") return undefined;
  const name = createHash("sha256").update(dataDir).digest("hex").slice(0, 32);
  const server = createServer((socket) => socket.destroy());
  server.unref();
  try {
    await once(server.listen({ path: `\0vdb-actor-dev-${name}` }), "listening");
    return server;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EADDRINUSE") throw error;
    throw new Error(`another vdb-actor dev runs on ${dataDir}: stop it, or name another folder with --data`);
  }
}
