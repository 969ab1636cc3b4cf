/** Version of this build, from package.json, wherever the code runs from (sources or dist/). */
import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

/** The folder that holds package.json. */
export const PROJECT_FOLDER = projectFolder(dirname(fileURLToPath(import.meta.url)));

export const VERSION = (JSON.parse(readFileSync(join(PROJECT_FOLDER, "package.json"), "utf8")) as { version: string })
  .version;

function projectFolder(folder: string): string {
  if (existsSync(join(folder, "package.json"))) return folder;
  if (folder === dirname(folder)) throw new Error("package.json of vdb-actor not found above this module");
  return projectFolder(dirname(folder));
}
