/** `npm run quickstart`, without its set-up: it shows what it says and ends by itself. */
import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import { expect, test } from "vitest";
import { PROJECT_FOLDER } from "../../runtime/version.ts";

const run = promisify(execFile);

test("the demonstration imports, indexes, searches, queries, deletes, and exits with 0", {
  timeout: 600_000,
}, async () => {
  const script = join(PROJECT_FOLDER, "scripts", "quickstart.ts");
  const { stdout } = await run(process.execPath, ["--import", "tsx", script], { cwd: PROJECT_FOLDER });
  expect(stdout).toMatch(/^ready after /m);
  expect(stdout).toMatch(/^imported 3000 Debian packages in .* durable/m);
  expect(stdout).toMatch(/^HNSW index built and loaded/m);
  const [, likeIt = "", httpd = "", query = "", afterDelete = ""] = stdout.split(
    /^(?:Packages like|The same|A query|Delete)/m,
  );
  const firstHit = /^ +[\d.]+ +(\d+) +(\S*nginx\S*) /m.exec(likeIt);
  expect(firstHit).not.toBeNull();
  expect(httpd.match(/ httpd /g)).toHaveLength(5);
  expect(query).toMatch(/python3-/);
  expect(afterDelete).toContain(firstHit![2]!);
  expect(afterDelete).not.toMatch(new RegExp(`^ +[\\d.]+ +${firstHit![1]} `, "m"));
  expect(stdout).toMatch(/^done in /m);
});
