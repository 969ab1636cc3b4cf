/** The first connection of a process: nothing has been set up for the npm client before. */
import { connect, createServer, type Server } from "node:net";
import { join } from "node:path";
import { expect, test } from "vitest";
import { startTestNats } from "../testing/nats-server.ts";
import { PROJECT_FOLDER } from "../version.ts";
import { serverList } from "./connect.ts";
import { dialNats } from "./dial.ts";

const file = (name: string) => join(PROJECT_FOLDER, "test/grpc/tls", name);

/** Passes everything on to the port, and keeps what clients send. */
async function listenTo(port: number): Promise<{ port: number; sent: Buffer[]; server: Server }> {
  const sent: Buffer[] = [];
  const server = createServer((socket) => {
    const onward = connect(port, "127.0.0.1");
    socket.on("data", (bytes) => sent.push(bytes));
    socket.pipe(onward).pipe(socket);
    for (const end of [socket, onward]) end.on("error", () => undefined);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return { port: (server.address() as { port: number }).port, sent, server };
}

test("a server given by name is told the name, so that it can choose its certificate", async () => {
  const config = `tls { cert_file: "${file("server.pem")}", key_file: "${file("server-key.pem")}" }`;
  await using nats = await startTestNats({ config });
  const wire = await listenTo(Number(new URL(nats.url).port));
  try {
    const servers = `tls://localhost:${wire.port}`;
    const connection = await dialNats({ servers, tls: { caFile: file("ca.pem") } });
    await connection.close();
    // The name is sent in clear, before anything is encrypted.
    expect(Buffer.concat(wire.sent).includes("localhost")).toBe(true);
  } finally {
    wire.server.close();
  }
});

test.each(["ws://127.0.0.1:1", "wss://127.0.0.1:1", "http://127.0.0.1:1"])("%s is no server of ours", (url) => {
  expect(() => serverList(`nats://127.0.0.1:2, ${url}`)).toThrow(url);
  expect(serverList(["TLS://a:1", " NATS://b:2 ", "c"])).toEqual(["TLS://a:1", "NATS://b:2", "c"]);
});
