/** Golden files: `files/<format>/<sample>.v<version>.bin`, and beside each what reading it gives, as JSON. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { PROJECT_FOLDER } from "../../runtime/version.ts";

export const GOLDEN_FOLDER = join(PROJECT_FOLDER, "test", "golden", "files");

export interface GoldenFile {
  sample: string;
  version: number;
  bytes: Uint8Array;
  expected: unknown;
}

/** Path without its ending. */
export function goldenPath(format: string, sample: string, version: number): string {
  return join(GOLDEN_FOLDER, format, `${sample.replaceAll(/[{}]/g, "")}.v${version}`);
}

export function goldenFiles(format: string): GoldenFile[] {
  const folder = join(GOLDEN_FOLDER, format);
  return readdirSync(folder)
    .filter((name) => name.endsWith(".bin"))
    .sort()
    .map((name) => {
      const [, sample, version] = /^(.*)\.v(\d+)\.bin$/.exec(name)!;
      const path = join(folder, name);
      const expected: unknown = JSON.parse(readFileSync(path.replace(/\.bin$/, ".json"), "utf8"));
      return { sample: sample!, version: Number(version), bytes: readFileSync(path), expected };
    });
}
