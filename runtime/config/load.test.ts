import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { errorMessage, isVdbError } from "../errors.ts";
import { describeConfig, loadConfig } from "./load.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "vdb-config-"));
});
afterEach(() => {
  rmSync(folder, { recursive: true, force: true });
});

function file(name: string, content: string): string {
  const path = join(folder, name);
  writeFileSync(path, content);
  return path;
}

/** The lines below the headline, one a problem. */
function problemsOf(options: Parameters<typeof loadConfig>[0]): string[] {
  try {
    loadConfig(options);
  } catch (error) {
    expect(isVdbError(error, "invalid_parameter")).toBe(true);
    return errorMessage(error).split("\n  ").slice(1);
  }
  return [];
}

describe("where a setting comes from", () => {
  test("everything has a default", () => {
    const { config, sources } = loadConfig({});
    expect(config.nats.servers).toBe("nats://127.0.0.1:4222");
    expect(config.cluster.walChannels).toBe(4);
    expect(sources.size).toBe(0);
  });

  test("a file wins over defaults, the environment over the file, flags over all", () => {
    const path = file("vdb.yaml", "query:\n  cacheBytes: 1\n  memoryBytes: 1\n  engineGrowthBytes: 1\n");
    const { config, sources } = loadConfig({
      file: path,
      environment: { VDB_QUERY__MEMORY_BYTES: "2", VDB_QUERY__ENGINE_GROWTH_BYTES: "2" },
      flags: ["query.engineGrowthBytes=3"],
    });
    expect(config.query).toMatchObject({ cacheBytes: 1, memoryBytes: 2, engineGrowthBytes: 3 });
    expect(config.node.engineThreads).toBe(0);
    expect(Object.fromEntries(sources)).toEqual({
      "query.cacheBytes": "file",
      "query.memoryBytes": "environment",
      "query.engineGrowthBytes": "flag",
    });
  });

  test("of two flags for one setting the last counts", () => {
    expect(loadConfig({ flags: ["log.level=debug", "log.level=warn"] }).config.log.level).toBe("warn");
  });

  test("leases outlast an election of a replicated NATS, unless they are set", () => {
    expect(loadConfig({}).config.node.leaseSeconds).toBe(5);
    expect(loadConfig({ flags: ["cluster.replicas=3"] }).config.node.leaseSeconds).toBe(10);
    expect(loadConfig({ flags: ["cluster.replicas=3", "node.leaseSeconds=4"] }).config.node.leaseSeconds).toBe(4);
  });

  test("a flag's value may hold an equals sign", () => {
    expect(loadConfig({ flags: ["nats.password=a=b=c"] }).config.nats.password).toBe("a=b=c");
  });

  test("text that looks like a number stays text where the setting is text", () => {
    expect(loadConfig({ environment: { VDB_NATS__PASSWORD: "12345" } }).config.nats.password).toBe("12345");
  });

  test("variables of other programs, and of ours that name no section, are left alone", () => {
    const environment = { PATH: "/bin", VDB_NATS_SERVER: "/usr/bin/nats-server", VDB_PROXY_PASSWORD: "x", A__B: "c" };
    expect(loadConfig({ environment }).sources.size).toBe(0);
  });

  test("an empty file changes nothing", () => {
    expect(loadConfig({ file: file("empty.yaml", "# nothing\n") }).config).toEqual(loadConfig({}).config);
  });

  test("the password may come from a file, without its last newline", () => {
    const passwordFile = file("password", "secret\n");
    expect(loadConfig({ flags: [`nats.passwordFile=${passwordFile}`] }).config.nats.password).toBe("secret");
  });
});

describe("what is wrong", () => {
  test("is told all at once, each with where it came from", () => {
    const path = file("vdb.yaml", "cluster:\n  replicas: 2\nproxy: 7\nnonsense:\n  a: 1\n");
    const problems = problemsOf({
      file: path,
      environment: { VDB_QUERY__CACHE_BITES: "1", VDB_NODE__LEASE_SECONDS: "soon" },
      flags: ["log.level=loud", "streaming", "data.buildThread=2"],
    });
    expect(problems).toEqual([
      expect.stringMatching(/vdb\.yaml: proxy is not a section/),
      expect.stringMatching(/^environment: VDB_QUERY__CACHE_BITES names no setting/),
      expect.stringMatching(/^flag: --set streaming is not of the form section\.key=value/),
      expect.stringMatching(/^cluster\.replicas \(from file\): /),
      expect.stringMatching(/^node\.leaseSeconds \(from environment\): .*expected number, received string/),
      "data.buildThread (from flag): there is no such setting",
      expect.stringMatching(/^log\.level \(from flag\): /),
      "nonsense.a (from file): there is no such setting",
    ]);
  });

  test.each([
    ["nats.prefix=a.b", "nats.prefix (from flag): letters, digits, _ and - only"],
    ["cluster.walChannels=0", "cluster.walChannels (from flag): Too small: expected number to be >=1"],
    ["cluster.walChannels=1.5", "cluster.walChannels (from flag): Invalid input: expected int"],
    ["cluster.walChannels=", "cluster.walChannels (from flag): Invalid input: expected number"],
    ["nats.server=x", "nats.server (from flag): there is no such setting"],
    ["server=x", "server (from flag): there is no such setting"],
  ])("%s is refused", (flag, problem) => {
    expect(problemsOf({ flags: [flag] })).toEqual([expect.stringContaining(problem)]);
  });

  test("a settings file that is not there, or no YAML, is named", () => {
    expect(problemsOf({ file: join(folder, "absent.yaml") })).toEqual([expect.stringMatching(/absent\.yaml: ENOENT/)]);
    const broken = file("broken.yaml", "nats: [unclosed\n");
    expect(problemsOf({ file: broken })[0]).toMatch(/broken\.yaml: /);
  });

  test("a password file that is not there is named", () => {
    expect(() => loadConfig({ flags: [`nats.passwordFile=${join(folder, "absent")}`] })).toThrow(
      /nats\.passwordFile: ENOENT.*absent/,
    );
  });
});

test("every setting says what it means, and has one name in the environment", () => {
  const settings = describeConfig();
  expect(settings.filter(({ description }) => description === "")).toEqual([]);
  const names = settings.map(({ path }) => path.replace(/[A-Z]/g, "_$&").replace(".", "__").toUpperCase());
  expect(new Set(names).size).toBe(settings.length);
});
