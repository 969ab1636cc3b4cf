/** A nats-server of a test: its own folder, a free port, gone when the test is. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type NatsServerProcess, startNatsServer } from "../nats/server.ts";

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
  const dataDir = await mkdtemp(join(tmpdir(), "vdb-nats-"));
  const start = (port: number): Promise<NatsServerProcess> => startNatsServer({ ...options, dataDir, port });
  let server = await start(0);
  const { url, port } = server;
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
      server = await start(port);
    },
    async [Symbol.asyncDispose]() {
      await kill();
      await rm(dataDir, { recursive: true, force: true });
    },
  };
}
