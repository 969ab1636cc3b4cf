/**
 * A PostgreSQL 17 with pgvector of our own. Debian 12 has no package of pgvector, so both run in a folder that debootstrap
 * fills with Debian 13 from the mirror that this machine's apt uses; made once, in /var/tmp/vdb-bench.
 */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { chmodSync, existsSync, mkdirSync, mkdtempSync, renameSync, rmSync } from "node:fs";
import { basename, join } from "node:path";

const SUITE = "trixie";
const ROOT = join("/var/tmp/vdb-bench", SUITE);
const BINARIES = "/usr/lib/postgresql/17/bin";
const PACKAGES = "postgresql-17,postgresql-17-pgvector";
const START_TIMEOUT_MS = 30_000;

/** Two cores, memory enough for everything measured here, and nothing less durable than PostgreSQL's defaults. */
const SETTINGS = [
  "shared_buffers=2GB",
  "maintenance_work_mem=3GB",
  "effective_cache_size=8GB",
  "work_mem=64MB",
  "max_wal_size=8GB",
  "random_page_cost=1.1",
  "jit=off",
  "max_parallel_maintenance_workers=1",
  "listen_addresses=",
  "unix_socket_directories=/run/vdb-bench",
];

export interface PgServer {
  /** Folder of its socket. */
  host: string;
  stop(): Promise<void>;
}

/** Creates the folder if it is missing. Returns why it cannot, or nothing. */
export function providePostgres(): string | undefined {
  if (process.platform !== "linux" || process.getuid?.() !== 0) return "pgvector's chroot needs Linux and root";
  if (existsSync(join(ROOT, BINARIES, "postgres"))) return undefined;
  if (!succeeds("debootstrap", ["--version"]))
    return "pgvector's chroot needs debootstrap: apt-get install debootstrap";
  const mirror = debianMirror();
  if (mirror === undefined) return "pgvector's chroot needs apt with a Debian mirror; apt-get update may help";
  process.stderr.write(`filling ${ROOT} with PostgreSQL 17 and pgvector, once\n`);
  const aside = `${ROOT}.new`;
  rmSync(aside, { recursive: true, force: true });
  mkdirSync(aside, { recursive: true });
  const made = spawnSync("debootstrap", ["--variant=minbase", `--include=${PACKAGES}`, SUITE, aside, mirror], {
    encoding: "utf8",
    timeout: 900_000,
  });
  if (made.status !== 0) return `debootstrap failed: ${made.stdout.trim().split("\n").at(-1) ?? made.error?.message}`;
  renameSync(aside, ROOT);
  return undefined;
}

/** On an empty data folder. `start` resolves when connections are taken. */
export async function startPostgres(): Promise<PgServer> {
  const data = mkdtempSync(join(ROOT, "var/tmp/data-"));
  const inside = `/var/tmp/${basename(data)}`;
  const sockets = join(ROOT, "run/vdb-bench");
  mkdirSync(sockets, { recursive: true });
  chmodSync(sockets, 0o777);
  runInside(["chown", "postgres:postgres", inside]);
  runInside(["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups"].concat(initdb(inside)));
  const settings = SETTINGS.flatMap((setting) => ["-c", setting]);
  const server = spawn(
    ...mounted(["/usr/bin/env", "-i", `${BINARIES}/postgres`, "-D", inside, ...settings], "postgres"),
    {
      stdio: ["ignore", "ignore", "pipe"],
    },
  );
  const killNow = () => server.kill("SIGQUIT");
  process.once("exit", killNow);
  await untilReady(server);
  return {
    host: sockets,
    async stop() {
      const ended = new Promise((resolve) => server.once("exit", resolve));
      server.kill("SIGINT");
      await ended;
      process.off("exit", killNow);
      rmSync(data, { recursive: true, force: true });
    },
  };
}

function initdb(folder: string): string[] {
  return [`${BINARIES}/initdb`, "-D", folder, "--auth=trust", "--username=postgres", "--encoding=UTF8", "--locale=C"];
}

function runInside(command: string[]): void {
  const [program, args] = mounted(command);
  const { status, stderr } = spawnSync(program, args, { encoding: "utf8" });
  if (status !== 0) throw new Error(`${command.join(" ")} in ${ROOT}: ${stderr.trim().split("\n").at(-1)}`);
}

/** Runs a command in the folder, with its own /dev and /proc. */
function mounted(command: string[], user?: string): [string, string[]] {
  const script = 'mount --bind /dev "$0/dev" && mount -t proc proc "$0/proc" && exec chroot "$@"';
  const identity = user === undefined ? [] : [`--userspec=${user}:${user}`];
  return ["unshare", ["--mount", "--propagation", "private", "sh", "-c", script, ROOT, ...identity, ROOT, ...command]];
}

function untilReady(server: ChildProcess): Promise<void> {
  let said = "";
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => fail("was not ready in time"), START_TIMEOUT_MS);
    const fail = (how: string) => {
      clearTimeout(timer);
      reject(new Error(`PostgreSQL ${how}: ${said.trim().split("\n").slice(-3).join("; ")}`));
    };
    server.once("exit", (code) => fail(`ended with ${code}`));
    server.once("error", (error) => fail(error.message));
    server.stderr?.on("data", (chunk) => {
      // Later output is read and dropped, or the pipe would fill.
      if (said.length < 100_000) said += chunk;
      if (!said.includes("ready to accept connections")) return;
      clearTimeout(timer);
      resolve();
    });
  });
}

/** Where this machine's apt gets Debian from. */
function debianMirror(): string | undefined {
  const format = "$(ORIGIN) $(REPO_URI) $(COMPONENT)";
  const { stdout } = spawnSync("apt-get", ["indextargets", "--format", format], { encoding: "utf8" });
  const line = (stdout ?? "").split("\n").find((one) => /^Debian \S+\/debian\/? main$/.test(one));
  return line?.split(" ")[1];
}

function succeeds(program: string, args: string[]): boolean {
  return spawnSync(program, args, { stdio: "ignore" }).status === 0;
}
