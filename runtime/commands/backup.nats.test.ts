/** `vdb-actor backup` and `restore` as a person calls them. */
import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { VdbClient } from "../../client/client.ts";
import { startTestCluster, type TestCluster } from "../testing/cluster.ts";
import { PROJECT_FOLDER } from "../version.ts";

let cluster: TestCluster;
let client: VdbClient;
let folder: string;

beforeAll(async () => {
  [cluster, folder] = await Promise.all([startTestCluster(), mkdtemp(join(tmpdir(), "vdb-backup-cli-"))]);
  client = VdbClient.inProcess(cluster.nodes[0]!.bus);
  for (const collectionName of ["one", "two"]) {
    await client.createCollection({ collectionName, dimension: 4 });
    const data = Array.from({ length: 30 }, (_, id) => ({ id, vector: Float32Array.of(id, 1, 2, 3) }));
    await client.insert({ collectionName, data });
  }
});
afterAll(async () => {
  await cluster?.[Symbol.asyncDispose]();
  await rm(folder, { recursive: true, force: true });
});

function vdbActor(...args: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
  const cli = ["--import", "tsx", join(PROJECT_FOLDER, "runtime", "cli.ts")];
  return new Promise((resolve) => {
    execFile(process.execPath, [...cli, ...args], { cwd: PROJECT_FOLDER }, (error, stdout, stderr) => {
      resolve({ code: error === null ? 0 : Number(error.code), stdout, stderr });
    });
  });
}

test("the whole cluster goes into a folder, and a collection comes back under another name", async () => {
  const to = join(folder, "whole");
  const nats = ["--nats", cluster.nats.url];
  const backup = await vdbActor("backup", to, ...nats);
  expect(backup).toMatchObject({ code: 0, stdout: expect.stringMatching(/^backed up 2 collection\(s\), 60 rows, /) });
  expect(JSON.parse(await readFile(join(to, "backup.json"), "utf8"))).toMatchObject({ format: 1 });

  const restored = await vdbActor("restore", to, ...nats, "--collection", "one", "--rename", "one=again");
  expect(restored).toMatchObject({
    code: 0,
    stdout: expect.stringMatching(/^restored 1 collection\(s\), 30 rows in /),
    stderr: expect.stringContaining("restored again: 30 rows\n"),
  });
  await client.waitUntilLoaded({ collectionName: "again" });
  const count = await client.query({ collectionName: "again", outputFields: ["count(*)"], consistencyLevel: "Strong" });
  expect(count).toEqual([{ "count(*)": 30 }]);

  const refused = await Promise.all([
    vdbActor("backup", to, ...nats),
    vdbActor("restore", to, ...nats, "--collection", "three"),
    vdbActor("restore", to, ...nats, "--rename", "one"),
  ]);
  expect(refused.map(({ code }) => code)).toEqual([1, 1, 2]);
  expect(refused.map(({ stderr }) => stderr)).toEqual([
    expect.stringMatching(/^error: .* holds a finished backup/),
    "error: the backup holds no collection three, but one, two\n",
    'error: --rename takes OLD=NEW, got "one"\n',
  ]);
});
