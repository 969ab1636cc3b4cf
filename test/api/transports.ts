/** The two ends of the public API's spectrum, one `Send` each: JSON over HTTP, MessagePack over NATS. */
import { connect, headers as natsHeaders } from "nats";
import type { ROLES, Role } from "../../runtime/actor.ts";
import {
  decodePublic,
  encodePublic,
  JSON_TYPE,
  MSGPACK_TYPE,
  parseJson,
  toJson,
} from "../../runtime/protocol/public-codec.ts";
import { startTestCluster } from "../../runtime/testing/cluster.ts";
import type { Send } from "./scenario.ts";

const TIMEOUT_MS = 120_000;

export interface Server extends AsyncDisposable {
  send: Send;
}

/** Small enough that the tests' segments get an index. */
const SETTINGS = ["coordinator.indexRowsMin=200", "proxy.http=127.0.0.1:0"];

/** A server that runs already, by its base URL. */
export function httpServer(url: string): Server {
  return {
    send: (path, body, headers) => overHttp(`${url}/v2/vectordb/${path}`, body, headers),
    [Symbol.asyncDispose]: async () => {},
  };
}

/** One process with all roles, asked over HTTP. */
export async function startHttpServer(roles: typeof ROLES): Promise<Server> {
  const cluster = await startTestCluster([roles], SETTINGS);
  const { http } = cluster.nodes[0]!.observe().proxy as { http: string };
  return { ...httpServer(`http://${http}`), [Symbol.asyncDispose]: () => cluster[Symbol.asyncDispose]() };
}

/** A node for each role, asked in MessagePack over NATS. */
export async function startNatsServer(roles: readonly Role[]): Promise<Server> {
  const cluster = await startTestCluster(
    roles.map((role) => [role]),
    SETTINGS,
  );
  const connection = await connect({ servers: cluster.nats.url });
  return {
    async send(path, body, headers) {
      const carried = natsHeaders();
      carried.set("Content-Type", MSGPACK_TYPE);
      for (const [name, value] of Object.entries(headers)) carried.set(name, value);
      const subject = `vdb.v2.${path.replaceAll("/", ".")}`;
      const { data } = await connection.request(subject, encodePublic(body, MSGPACK_TYPE), {
        timeout: TIMEOUT_MS,
        headers: carried,
      });
      return parseJson(toJson(decodePublic(data, MSGPACK_TYPE)));
    },
    async [Symbol.asyncDispose]() {
      await connection.close();
      await cluster[Symbol.asyncDispose]();
    },
  };
}

async function overHttp(url: string, body: unknown, headers: Record<string, string>): Promise<unknown> {
  const response = await fetch(url, {
    method: "POST",
    headers: { "Content-Type": JSON_TYPE, ...headers },
    body: encodePublic(body, JSON_TYPE),
    signal: AbortSignal.timeout(TIMEOUT_MS),
  });
  const bytes = new Uint8Array(await response.arrayBuffer());
  if (!(response.headers.get("content-type") ?? "").startsWith(JSON_TYPE)) {
    throw new Error(`${url} answered ${response.status}: ${Buffer.from(bytes).toString()}`);
  }
  return decodePublic(bytes, JSON_TYPE);
}
