/** `vdb-actor config print`: every setting, its value and where that came from. */
import type { Command } from "commander";
import { describeConfig } from "../config/load.ts";
import { addConnectionOptions, loadSettings, type SettingsOptions } from "./settings.ts";
import { renderTable } from "./table.ts";

const SECRETS = new Set(["nats.password", "proxy.rootPassword"]);

interface Setting {
  path: string;
  value: unknown;
  source: string;
  description: string;
}

export function addConfigCommand(program: Command): void {
  const config = program.command("config").description("settings");
  const print = config
    .command("print")
    .summary("print every setting, its value and where that came from")
    .description(
      "Prints every setting, its value and where that came from.\n" +
        "Defaults give way to the file (--config), that to the environment, that to options (--set).\n" +
        "query.cacheBytes is VDB_QUERY__CACHE_BYTES in the environment, and in a file cacheBytes below query.",
    )
    .option("--json", "as JSON");
  addConnectionOptions(print)
    .addHelpText(
      "after",
      `
Examples:
  vdb-actor config print
  VDB_QUERY__CACHE_BYTES=1000000000 vdb-actor config print --json
  vdb-actor config print --config vdb.yaml --set log.level=debug`,
    )
    .action((options: SettingsOptions & { json?: boolean }) => {
      const settings = collectSettings(options);
      console.log(options.json === true ? JSON.stringify(settings, null, 2) : renderSettings(settings));
    });
}

function collectSettings(options: SettingsOptions): Setting[] {
  const { config, sources } = loadSettings(options);
  return describeConfig().map(({ path, description }) => {
    const [section = "", key = ""] = path.split(".");
    const value = (config as unknown as Record<string, Record<string, unknown>>)[section]?.[key];
    const isHidden = SECRETS.has(path) && value !== "";
    const file = `${path}File`;
    const fromFile = SECRETS.has(path) && sources.has(file);
    const source = fromFile ? file : (sources.get(path) ?? "default");
    return { path, value: isHidden ? "***" : value, source, description };
  });
}

function renderSettings(settings: Setting[]): string {
  return renderTable(
    [
      { title: "setting", value: ({ path }) => path },
      { title: "value", value: ({ value }) => String(value) },
      { title: "source", value: ({ source }) => source },
      { title: "description", value: ({ description }) => description },
    ],
    settings,
  );
}
