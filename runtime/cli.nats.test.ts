/** The command line as a person uses it: real processes, a folder of its own, killed for real. */
import { type ChildProcess, execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readFileSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { startTestNats } from "./testing/nats-server.ts";
import { PROJECT_FOLDER } from "./version.ts";

const CLI = ["--import", "tsx", join(PROJECT_FOLDER, "runtime", "cli.ts")];

interface Result {
  code: number;
  stdout: string;
  stderr: string;
}

function vdbActor(...args: string[]): Promise<Result> {
  return new Promise((resolve) => {
    execFile(process.execPath, [...CLI, ...args], { cwd: PROJECT_FOLDER }, (error, stdout, stderr) => {
      resolve({ code: error === null ? 0 : Number(error.code), stdout, stderr });
    });
  });
}

interface Dev {
  child: ChildProcess;
  http: string;
  nats: string;
}

const running = new Set<ChildProcess>();

function spawnCli(...args: string[]): ChildProcess {
  const child = spawn(process.execPath, [...CLI, ...args], { cwd: PROJECT_FOLDER, stdio: ["pipe", "pipe", "inherit"] });
  running.add(child);
  child.once("exit", () => running.delete(child));
  return child;
}

async function firstLine(child: ChildProcess): Promise<string> {
  const [line] = (await once(createInterface({ input: child.stdout! }), "line")) as [string];
  return line;
}

async function startDev(dataDir: string): Promise<Dev> {
  const child = spawnCli("dev", "--data", dataDir, "--http", "127.0.0.1:0", "--nats-port", "0");
  const line = await firstLine(child);
  const [, http, nats] = /^ready {2}(http:\S+) {2}(nats:\S+) /.exec(line) ?? [];
  if (http === undefined || nats === undefined) throw new Error(`dev printed ${line}`);
  return { child, http, nats };
}

async function end(child: ChildProcess, signal: NodeJS.Signals): Promise<number | null> {
  const exited = once(child, "exit");
  child.kill(signal);
  const [code] = (await exited) as [number | null];
  return code;
}

async function post(dev: Dev, path: string, body: object): Promise<unknown> {
  const response = await fetch(`${dev.http}/v2/vectordb/${path}`, { method: "POST", body: JSON.stringify(body) });
  return ((await response.json()) as { data: unknown }).data;
}

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "vdb-dev-"));
});
afterEach(async () => {
  await Promise.all([...running].map((child) => end(child, "SIGKILL")));
});
afterAll(async () => {
  // A server whose parent was killed ends by itself a moment later.
  await rm(folder, { recursive: true, force: true, maxRetries: 20, retryDelay: 250 });
});

/** Four rows: two near each other, two far away. */
async function writeRows(): Promise<{ records: string; vectors: string }> {
  const [records, vectors] = [join(folder, "rows.ndjson"), join(folder, "rows.f32")];
  const names = ["red", "crimson", "green", "blue"];
  await writeFile(records, names.map((name, id) => `${JSON.stringify({ id, name })}\n`).join(""));
  await writeFile(vectors, Buffer.from(Float32Array.of(1, 0, 0, 0.9, 0.1, 0, 0, 1, 0, 0, 0, 1).buffer));
  return { records, vectors };
}

describe("vdb-actor dev", () => {
  test("imports, searches, and has its data back after a kill", async () => {
    const dataDir = join(folder, "data");
    const first = await startDev(dataDir);
    const { records, vectors } = await writeRows();
    const imported = await vdbActor(
      ...["import", records, "--vectors", vectors, "--collection", "colours", "--nats", first.nats],
    );
    expect(imported).toMatchObject({ code: 0, stdout: expect.stringMatching(/^imported 4 rows into colours in /) });

    const near = ["search", "--collection", "colours", "--like", "0", "--fields", "name", "--consistency", "Strong"];
    const found = await vdbActor(...near, "--limit", "1", "--json", "--nats", first.nats);
    expect(found.code).toBe(0);
    expect(JSON.parse(found.stdout)).toMatchObject([{ id: 1, name: "crimson" }]);

    const refused = await vdbActor("dev", "--data", dataDir, "--http", "127.0.0.1:0", "--nats-port", "0");
    expect(refused).toMatchObject({ code: 1, stderr: expect.stringMatching(/^error: another vdb-actor dev runs on /) });

    await end(first.child, "SIGKILL");
    const second = await startDev(dataDir);
    const count = { collectionName: "colours", outputFields: ["count(*)"], consistencyLevel: "Strong" };
    expect(await post(second, "entities/query", count)).toEqual([{ "count(*)": 4 }]);

    const status = await vdbActor("status", "--json", "--nats", second.nats);
    expect(JSON.parse(status.stdout)).toMatchObject({
      leader: { isAlive: true },
      collections: [{ name: "colours", shards: 1 }],
    });
    expect((await vdbActor("status", "--nats", second.nats)).stdout).toMatch(/\ncolours +1 /);

    expect(await end(second.child, "SIGINT")).toBe(0);
  });

  test("stops when it is told to while it starts", async () => {
    const dataDir = join(folder, "early");
    const child = spawnCli("dev", "--data", dataDir, "--http", "127.0.0.1:0", "--nats-port", "0");
    await expect.poll(() => existsSync(join(dataDir, "nats", "nats.conf"))).toBe(true);
    expect(await end(child, "SIGTERM")).toBe(0);
  });
});

describe("vdb-actor start", () => {
  test("says when it is ready, keeps its ready file while it serves, and stops cleanly", async () => {
    await using nats = await startTestNats();
    const readyFile = join(folder, "ready");
    const child = spawnCli(
      ...["start", "--role", "coordinator,data", "--nats", nats.url, "--ready-file", readyFile],
      ...["--set", `node.dataDir=${join(folder, "node")}`, "--set", "log.level=error"],
    );
    const nodeId = /^ready coordinator,data (\w+)$/.exec(await firstLine(child))?.[1];
    expect(readFileSync(readyFile, "utf8")).toBe(nodeId);
    expect(await end(child, "SIGTERM")).toBe(0);
    expect(existsSync(readyFile)).toBe(false);
  });

  test("does not outlive its parent when it was told so", async () => {
    await using nats = await startTestNats();
    const child = spawnCli(
      ...["start", "--role=coordinator", "--nats", nats.url, "--exit-with-parent"],
      ...["--set", `node.dataDir=${join(folder, "node")}`, "--set", "log.level=error"],
    );
    await firstLine(child);
    const exited = once(child, "exit");
    child.stdin!.end();
    expect(await exited).toEqual([0, null]);
  });
});

describe("errors", () => {
  test("of how a command is called end with 2, in one line", async () => {
    const calls = [
      ["start", "--role=quary"],
      ["search", "--collection", "x"],
      ["search", "--collection", "x", "--vector", "[1,"],
      ["import", "x.ndjson", "--collection", "x", "--batch", "0"],
      ["dev", "--set", "nats.nosuch=1"],
      ["nosuch"],
    ];
    const results = await Promise.all(calls.map((call) => vdbActor(...call)));
    expect(results.map(({ code }) => code)).toEqual(calls.map(() => 2));
    expect(results.map(({ stderr }) => stderr)).toEqual([
      expect.stringMatching(/^error: --role: "quary" is not a role: use proxy, .*\n$/),
      "error: give either --vector or --like\n",
      expect.stringMatching(/^error: --vector takes a JSON array .*\n$/),
      expect.stringMatching(/^error: --batch takes a whole number, 1 to 10000, got "0"\n$/),
      expect.stringMatching(/^error: configuration has 1 problem.*\n.*nats\.nosuch \(from flag\)/),
      expect.stringMatching(/^error: unknown command 'nosuch'/),
    ]);
  });

  test("of what was asked for end with 1 and say what to do", async () => {
    const { code, stdout, stderr } = await vdbActor("status", "--nats", "nats://127.0.0.1:1");
    expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
    expect(stderr).toMatch(/^error: cannot connect to NATS at nats:\/\/127\.0\.0\.1:1: .*\n$/);
  });
});

test("config print shows where values come from, and no secrets", async () => {
  const { stdout } = await vdbActor(
    ...["config", "print", "--json", "--prefix", "mine", "--set", "nats.password=hunter2"],
  );
  const settings = JSON.parse(stdout) as { path: string; value: unknown; source: string }[];
  const setting = (path: string) => settings.find((candidate) => candidate.path === path);
  expect(setting("nats.prefix")).toMatchObject({ value: "mine", source: "flag" });
  expect(setting("nats.password")).toMatchObject({ value: "***", source: "flag" });
  expect(setting("cluster.walChannels")).toMatchObject({ value: 4, source: "default" });
  expect(stdout).not.toContain("hunter2");
});
