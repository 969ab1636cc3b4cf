/**
 * Adds golden files of forms that have none yet: `npm run golden`. Existing files are never written over: what was
 * written once must stay readable. A changed form gets a new version in formats.ts first.
 */
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { goldenPath } from "./files.ts";
import { FORMATS, versionOf } from "./formats.ts";
import { plain } from "./plain.ts";

let written = 0;
for (const format of FORMATS) {
  const { name, samples, read } = format;
  for (const [sample, write] of Object.entries(samples)) {
    const path = goldenPath(name, sample, versionOf(format, sample));
    if (existsSync(`${path}.bin`)) continue;
    const bytes = await write();
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(`${path}.bin`, bytes);
    writeFileSync(`${path}.json`, `${JSON.stringify(plain(await read(bytes, sample)), null, 1)}\n`);
    console.log(`${path}.bin`);
    written++;
  }
}
console.log(`${written} file(s) added`);
process.exit();
