#!/usr/bin/env node
/**
 * The command line. stdout is for output, stderr for logs and errors.
 *
 * Exit codes: 0 done, 1 failed, 2 called wrongly.
 */
import { Command, CommanderError } from "commander";
import { addBackupCommand } from "./commands/backup.ts";
import { addConfigCommand } from "./commands/config.ts";
import { addDevCommand } from "./commands/dev.ts";
import { addDrainCommand } from "./commands/drain.ts";
import { addImportCommand } from "./commands/import.ts";
import { addRestoreCommand } from "./commands/restore.ts";
import { addSearchCommand } from "./commands/search.ts";
import { addStartCommand } from "./commands/start.ts";
import { addStatusCommand } from "./commands/status.ts";
import { UsageError } from "./commands/usage-error.ts";
import { errorMessage } from "./errors.ts";
import { VERSION } from "./version.ts";

const FAILED = 1;
const CALLED_WRONGLY = 2;

const program = new Command("vdb-actor")
  .description("A vector database whose only dependency is a NATS server.")
  .version(VERSION)
  .option("--verbose", "print the stack of an error")
  .showHelpAfterError("(--help shows what this command takes)")
  .exitOverride()
  .addHelpText(
    "after",
    `
Examples:
  vdb-actor dev                               a whole database in this process, data in ./.vdb
  vdb-actor import packages.ndjson --vectors packages.f32 --collection packages
  vdb-actor search --collection packages --like 17 --filter 'section == "httpd"' --fields name,title
  vdb-actor start --role=query --nats nats://10.0.0.5:4222
  vdb-actor status

\`vdb-actor <command> --help\` has more about each.`,
  );
addDevCommand(program);
addStartCommand(program);
addStatusCommand(program);
addDrainCommand(program);
addImportCommand(program);
addSearchCommand(program);
addBackupCommand(program);
addRestoreCommand(program);
addConfigCommand(program);

try {
  await program.parseAsync();
  // What a command leaves open (a lost server's reconnection, an idle child) must not keep the process.
  process.exit();
} catch (error) {
  process.exit(report(error));
}

function report(error: unknown): number {
  if (error instanceof CommanderError) {
    // Commander has printed what there is to say; help and version were asked for.
    return error.exitCode === 0 ? 0 : CALLED_WRONGLY;
  }
  console.error(`error: ${errorMessage(error)}`);
  if (program.opts<{ verbose?: boolean }>().verbose === true) console.error(error);
  return error instanceof UsageError ? CALLED_WRONGLY : FAILED;
}
