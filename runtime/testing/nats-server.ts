/**
 * A nats-server of a test: its own folder and port, gone when the test is. With VDB_TEST_REPLICAS=3 in the environment
 * it is a cluster of three, killed and restarted as a whole, so that the tests of the adapters can be run on that too.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type NatsServerProcess, startNatsServer } from "../nats/server.ts";
import { freePorts } from "./free-ports.ts";
import { startNatsCluster } from "./nats-cluster.ts";

/** Replicas for what a test creates on its NATS. */
export const TEST_REPLICAS = process.env.VDB_TEST_REPLICAS === "3" ? 3 : 1;

export interface TestNats extends AsyncDisposable {
  readonly url: string;
  readonly dataDir: string;
  /** The running server; another one after a restart. */
  readonly server: NatsServerProcess;
  /** kill -9, and resolves once it is dead. */
  kill(): Promise<void>;
  /** Kills it if it runs, and starts it again on the same folder and port. */
  restart(): Promise<void>;
}

export async function startTestNats(options: { config?: string } = {}): Promise<TestNats> {
  if (TEST_REPLICAS > 1) return startTestNatsCluster(options);
  const dataDir = await mkdtemp(join(tmpdir(), "vdb-nats-"));
  // Its own also while it is dead: any free port could be given to somebody else then.
  const [port] = (await freePorts(1)) as [number];
  const start = (): Promise<NatsServerProcess> => startNatsServer({ ...options, dataDir, port });
  let server = await start();
  const { url } = server;
  const kill = async (): Promise<void> => {
    server.kill("SIGKILL");
    await server.exited;
  };
  return {
    url,
    dataDir,
    get server() {
      return server;
    },
    kill,
    async restart() {
      await kill();
      server = await start();
    },
    async [Symbol.asyncDispose]() {
      await kill();
      await rm(dataDir, { recursive: true, force: true });
    },
  };
}

async function startTestNatsCluster(options: { config?: string }): Promise<TestNats> {
  const cluster = await startNatsCluster(options);
  const all = (what: (index: number) => Promise<void>): Promise<unknown> =>
    Promise.all(cluster.members.map((_, index) => what(index)));
  return {
    url: cluster.servers,
    dataDir: cluster.folder,
    get server(): NatsServerProcess {
      throw new Error("this test is about a single nats-server: run it without VDB_TEST_REPLICAS");
    },
    async kill() {
      await all(cluster.kill);
    },
    async restart() {
      await all(cluster.kill);
      await all(cluster.start);
    },
    [Symbol.asyncDispose]: () => cluster[Symbol.asyncDispose](),
  };
}
