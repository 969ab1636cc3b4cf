/** Ports for servers of tests that are told beforehand where they listen, and come back there after they were killed. */
import { createServer, type Server } from "node:net";

/** Below the ports that the kernel gives to outgoing connections and to who asks for any: one of those could take a dead server's. */
const PORT_MIN = 10_000;
const PORT_MAX = 32_000;

/**
 * Ports that nobody listens on now. No other test gets them while this process lives, also while their servers are dead: test
 * files run side by side.
 */
export async function freePorts(count: number): Promise<number[]> {
  const ports: number[] = [];
  while (ports.length < count) {
    const port = PORT_MIN + Math.floor(Math.random() * (PORT_MAX - PORT_MIN));
    if ((await reserve(port)) && (await isFree(port))) ports.push(port);
  }
  return ports;
}

/** The name of a socket, which the kernel gives to one process at a time and takes back when that ends, however it does. */
async function reserve(port: number): Promise<boolean> {
  // Other systems have no names without files.
  if (process.platform !== "linux") return true;
  const server = await listening(createServer(), { path: `\0vdb-actor-test-port-${port}` });
  server?.unref();
  return server !== null;
}

async function isFree(port: number): Promise<boolean> {
  const server = await listening(createServer(), { port, host: "127.0.0.1" });
  if (server === null) return false;
  await new Promise((done) => server.close(done));
  return true;
}

/** Null when somebody else listens there. */
function listening(server: Server, where: { path: string } | { port: number; host: string }): Promise<Server | null> {
  return new Promise((resolve) => {
    server.once("error", () => resolve(null));
    server.listen(where, () => resolve(server));
  });
}
