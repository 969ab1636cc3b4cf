import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { startTestNats, TEST_REPLICAS } from "../testing/nats-server.ts";
import { connectNats } from "./connect.ts";
import { startNatsServer } from "./server.ts";

let dataDir: string;
beforeEach(async () => {
  dataDir = await mkdtemp(join(tmpdir(), "vdb-nats-"));
});
afterEach(async () => {
  await rm(dataDir, { recursive: true, force: true });
});

/** Resolves when the process is gone: it is not our child, so there is nothing to await but time. */
async function gone(pid: number): Promise<void> {
  for (;;) {
    const stat = await readFile(`/proc/${pid}/stat`, "utf8").catch(() => "");
    if (stat === "" || stat.includes(") Z ")) return;
    await new Promise((done) => setTimeout(done, 20));
  }
}

describe("startNatsServer", () => {
  test("starts on a free port, accepts clients, and stops", async () => {
    const server = await startNatsServer({ dataDir, port: 0 });
    const connections = await connectNats({ servers: server.url, name: "test" });
    expect(connections.control.info?.max_payload).toBe(8 * 1024 * 1024);
    await connections.close();
    await server.stop();
    await gone(server.pid);
  });

  test("stops the server that an earlier life left in the folder", async () => {
    const first = await startNatsServer({ dataDir, port: 0 });
    await using second = await startNatsServer({ dataDir, port: 0 });
    await first.exited;
    expect(second.pid).not.toBe(first.pid);
  });

  test("says what the server's log says when it cannot start", async () => {
    await expect(startNatsServer({ dataDir, port: 0, config: "no_such_setting: 1" })).rejects.toThrow(
      /no_such_setting/,
    );
  });

  test("does not outlive a parent that is killed", async () => {
    const script = `
      import { startNatsServer } from ${JSON.stringify(new URL("./server.ts", import.meta.url).href)};
      const server = await startNatsServer({ dataDir: ${JSON.stringify(dataDir)}, port: 0 });
      console.log(server.pid);
      setInterval(() => {}, 1000);`;
    const parent = spawn(process.execPath, ["--import", "tsx", "--input-type=module", "-e", script], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    const [line] = (await once(parent.stdout, "data")) as [Buffer];
    const pid = Number(line.toString());
    expect(pid).toBeGreaterThan(1);
    parent.kill("SIGKILL");
    await gone(pid);
  });

  test.skipIf(TEST_REPLICAS > 1)("a test server comes back on its port, and its clients with it", async () => {
    await using nats = await startTestNats();
    const connections = await connectNats({ servers: nats.url, name: "test" });
    const isBack = new Promise<void>((done) => {
      void (async () => {
        for await (const status of connections.control.status()) if (status.type === "reconnect") done();
      })();
    });
    const before = nats.server.pid;
    await nats.restart();
    expect(nats.server.pid).not.toBe(before);
    await isBack;
    await connections.control.flush();
    await connections.close();
  });
});

describe("connectNats", () => {
  test("refuses a server that is too old, and names its version", async () => {
    const old = fakeServer({ server_id: "X", version: "2.9.10", headers: true, max_payload: 1 << 20, jetstream: true });
    await once(old.listen(0, "127.0.0.1"), "listening");
    const { port } = old.address() as { port: number };
    await expect(connectNats({ servers: `127.0.0.1:${port}`, name: "test" })).rejects.toThrow(
      "nats-server 2.9.10 has JetStream api level 0, need 4 (nats-server 2.14 or newer)",
    );
    old.close();
  });

  test("is unavailable when nobody listens", async () => {
    await expect(connectNats({ servers: "127.0.0.1:1", name: "test" })).rejects.toMatchObject({ kind: "unavailable" });
  });
});

/** Just enough of the protocol for a client to take it for a server: INFO, and PONG for PING. */
function fakeServer(info: Record<string, unknown>): Server {
  return createServer((socket) => {
    socket.on("error", () => undefined);
    socket.write(`INFO ${JSON.stringify({ proto: 1, host: "127.0.0.1", port: 0, go: "", ...info })}\r\n`);
    socket.on("data", (data) => {
      if (data.toString().includes("PING")) socket.write("PONG\r\n");
    });
  });
}
