/** `vdb-actor start`: one node, with the roles that are named. */
import { rm, writeFile } from "node:fs/promises";
import type { Command } from "commander";
import { ROLES, type Role } from "../actor.ts";
import { createLogger } from "../logger.ts";
import { listenForStop, runNode } from "./run-node.ts";
import { addConnectionOptions, loadSettings, type SettingsOptions } from "./settings.ts";
import { UsageError } from "./usage-error.ts";

interface StartOptions extends SettingsOptions {
  role: string;
  exitWithParent?: boolean;
  readyFile?: string;
}

export function addStartCommand(program: Command): void {
  const command = program
    .command("start")
    .summary("start a node of a cluster")
    .description(
      "Starts one node with the given roles against a NATS server that runs already. Prints a line " +
        "`ready <roles> <node id>` on stdout when it serves; logs are JSON lines on stderr.\n" +
        "SIGTERM or Ctrl-C hands over and stops within node.drainTimeoutMs; a second one stops at once.",
    )
    .requiredOption("--role <roles>", `comma-separated: ${ROLES.join(", ")}; or all`)
    .option("--ready-file <path>", "a file that is there while the node serves, for health checks")
    .option("--exit-with-parent", "stop when stdin ends, so that the node does not outlive who started it");
  addConnectionOptions(command)
    .addHelpText(
      "after",
      `
Examples:
  vdb-actor start --role=coordinator --nats nats://10.0.0.5:4222
  vdb-actor start --role=streaming,query --set query.memoryBytes=17179869184
  vdb-actor start --role=proxy --set proxy.http=0.0.0.0:19530 --user proxy --password-file /run/secrets/proxy`,
    )
    .action(async (options: StartOptions) => {
      process.exitCode = await start(options);
    });
}

async function start(options: StartOptions): Promise<number> {
  const roles = parseRoles(options.role);
  const { config } = loadSettings(options);
  const logger = createLogger({ level: config.log.level });
  const stop = listenForStop({ exitWithParent: options.exitWithParent === true });
  // One that an earlier life, killed, has left.
  if (options.readyFile !== undefined) await rm(options.readyFile, { force: true });
  const { startNode } = await import("../node.ts");
  const starting = startNode({ roles, config, logger });
  const started = await Promise.race([starting, stop.requested]);
  // Nothing was handed to it yet; its leases, if it has any, expire.
  if (typeof started === "string") return 0;
  if (options.readyFile !== undefined) await writeFile(options.readyFile, started.nodeId);
  console.log(`ready ${roles.join(",")} ${started.nodeId}`);
  try {
    return await runNode(started, stop, logger);
  } finally {
    if (options.readyFile !== undefined) await rm(options.readyFile, { force: true });
  }
}

/** @throws UsageError */
function parseRoles(text: string): Role[] {
  const names = text === "all" ? ROLES : text.split(",").map((name) => name.trim());
  const unknown = names.find((name) => !(ROLES as readonly string[]).includes(name));
  if (unknown !== undefined) {
    throw new UsageError(`--role: ${JSON.stringify(unknown)} is not a role: use ${ROLES.join(", ")}, or all`);
  }
  return [...new Set(names as readonly Role[])];
}
