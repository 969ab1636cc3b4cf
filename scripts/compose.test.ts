/** docker-compose.yml, Dockerfile and nats.conf agree with each other and with the program, as far as can be told without an engine. */
import { existsSync, readFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { describe, expect, test } from "vitest";
import { parse } from "yaml";
import { ROLES } from "../runtime/actor.ts";
import { nativeAddonPath } from "../runtime/ann/native-addon.ts";
import { loadConfig } from "../runtime/config/load.ts";
import { PROJECT_FOLDER } from "../runtime/version.ts";

interface Service {
  image: string;
  command: string[];
  environment: Record<string, string>;
  volumes: string[];
  ports?: string[];
  healthcheck: { test: string[] };
  depends_on: Record<string, { condition: string }>;
}

const read = (name: string): string => readFileSync(join(PROJECT_FOLDER, name), "utf8");
const { services, volumes } = parse(read("docker-compose.yml"), { merge: true }) as {
  services: Record<string, Service>;
  volumes: Record<string, unknown>;
};

/** As compose does it, with every variable set to its own name. */
function substitute(environment: Record<string, string>): Record<string, string> {
  const entries = Object.entries(environment).map(([name, value]) => [
    name,
    value.replace(/\$\{(\w+):\?[^}]*\}/g, "$1"),
  ]);
  return Object.fromEntries(entries) as Record<string, string>;
}

function variablesOf(text: string, pattern: RegExp): string[] {
  return [...new Set([...text.matchAll(pattern)].map((match) => match[1]!))];
}

describe("docker-compose.yml", () => {
  test.each(ROLES)("runs the %s role under its own user, with settings that exist", (role) => {
    const { command, environment, depends_on, healthcheck } = services[role]!;
    expect(command.slice(0, 2)).toEqual(["start", `--role=${role}`]);
    const { config } = loadConfig({ environment: substitute(environment) });
    expect(config.nats).toMatchObject({
      servers: "nats://nats:4222",
      user: role,
      password: `VDB_${role.toUpperCase()}_PASSWORD`,
    });
    expect(depends_on.nats!.condition).toBe("service_healthy");
    expect(healthcheck.test[0]).toBe("CMD");
  });

  test.each(["coordinator", "streaming", "query", "data"])("checks the file that the %s node writes", (role) => {
    const { command, healthcheck } = services[role]!;
    expect(command).toContain(`--ready-file=${healthcheck.test.at(-1)}`);
  });

  test("publishes ports on loopback only, and none of a service that is scaled by default", () => {
    const published = Object.entries(services).flatMap(([name, { ports = [] }]) => ports.map((port) => [name, port]));
    expect(published).toEqual([
      ["nats", "127.0.0.1:4222:4222"],
      ["proxy", "127.0.0.1:19530:19530"],
    ]);
  });

  test("gives nats-server its configuration and every variable that this asks for", () => {
    const { environment, volumes: mounts, command } = services.nats!;
    expect(mounts).toContain(`./nats.conf:${command[1]}:ro`);
    const asked = variablesOf(read("nats.conf"), /^[^#\n]*\$(VDB_\w+)/gm);
    expect(asked.length).toBe(8);
    expect(new Set(Object.keys(environment))).toEqual(new Set(asked));
    expect(mounts).toContain(`nats-data:${environment.VDB_NATS_DIR}`);
    expect(volumes).toHaveProperty("nats-data");
  });

  test("asks for no variable that .env.example does not name", () => {
    const used = variablesOf(read("docker-compose.yml"), /\$\{(\w+)/g);
    expect(new Set(used)).toEqual(new Set(variablesOf(read(".env.example"), /^(\w+)=$/gm)));
  });
});

describe("Dockerfile", () => {
  const lines = read("Dockerfile").split("\n");

  test("copies what is in the repository and what .dockerignore lets through", () => {
    const sources = lines
      .filter((line) => line.startsWith("COPY ") && !line.includes("--from="))
      .flatMap((line) => line.split(" ").slice(1, -1))
      .filter((source) => source !== ".");
    const allowed = read(".dockerignore")
      .split("\n")
      .filter((line) => line.startsWith("!"))
      .map((line) => line.slice(1));
    expect(allowed.filter((path) => !existsSync(join(PROJECT_FOLDER, path)))).toEqual([]);
    expect(sources.filter((source) => !allowed.includes(source.split("/")[0]!))).toEqual([]);
  });

  test("carries the search engine to where the runtime looks for it", () => {
    const path = relative(PROJECT_FOLDER, nativeAddonPath());
    expect(lines).toContain(`COPY --from=build /opt/vdb/${path} ${dirname(path)}/`);
  });

  test("keeps node caches where the node may write", () => {
    const text = read("Dockerfile");
    const dataDir = /VDB_NODE__DATA_DIR=(\S+)/.exec(text)![1]!;
    expect(loadConfig({ environment: { VDB_NODE__DATA_DIR: dataDir } }).config.node.dataDir).toBe(dataDir);
    expect(text).toContain(`chown node:node ${dataDir}`);
    expect(services.query!.volumes).toEqual([dataDir]);
  });
});
