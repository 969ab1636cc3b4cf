import { afterEach, describe, expect, it } from "vitest";
import type { ActorContext } from "../../runtime/actor.ts";
import { loadConfig } from "../../runtime/config/load.ts";
import { Draining } from "../../runtime/draining.ts";
import { flushCollection, httpPath, type PublicOperation, queryEntities } from "../../runtime/protocol/public.ts";
import { ManualClock } from "../../runtime/testing/manual-clock.ts";
import { type HttpServer, serveHttp } from "./http.ts";

/** An HTTP front whose operations answer with the time that they were given. The clock stands still at 0. */
async function serve(requestTimeoutMs: number, flags: string[] = []): Promise<HttpServer> {
  const { config } = loadConfig({
    flags: ["proxy.http=127.0.0.1:0", `proxy.requestTimeoutMs=${requestTimeoutMs}`, ...flags],
  });
  const ask = (_operation: unknown, _params: unknown, _body: unknown, call: { deadline: number }) =>
    Promise.resolve({ code: 0, data: call.deadline });
  const actor = { config, clock: new ManualClock(), draining: new Draining(), bus: { ask } } as unknown as ActorContext;
  return serveHttp(actor, [flushCollection, queryEntities], () => ({}));
}

let server: HttpServer | undefined;
afterEach(() => server?.close());

async function timeGiven(operation: PublicOperation, headers: Record<string, string> = {}): Promise<unknown> {
  const response = await fetch(`http://${server!.address}${httpPath(operation)}`, {
    method: "POST",
    body: "{}",
    headers: { "content-type": "application/json", ...headers },
  });
  return ((await response.json()) as { data: unknown }).data;
}

describe("the time limit of an HTTP request", () => {
  it("is the configured one, but for a flush, which has its own as over NATS", async () => {
    server = await serve(5_000);
    expect(await timeGiven(queryEntities)).toBe(5_000);
    expect(await timeGiven(flushCollection)).toBe(flushCollection.timeoutMs);
    expect(flushCollection.timeoutMs).toBeGreaterThan(queryEntities.timeoutMs);
  });

  it("is the configured one for a flush too where that is longer", async () => {
    server = await serve(600_000);
    expect(await timeGiven(flushCollection)).toBe(600_000);
  });

  it("is what the request says, in seconds", async () => {
    server = await serve(5_000);
    for (const operation of [queryEntities, flushCollection]) {
      expect(await timeGiven(operation, { "request-timeout": "1.5" })).toBe(1_500);
    }
    expect(await timeGiven(queryEntities, { "request-timeout": "soon" })).toBe(5_000);
  });
});

describe("the bodies of HTTP requests", () => {
  it("to nowhere take nothing of what all bodies may take", async () => {
    server = await serve(5_000, ["proxy.httpBodyBytesMax=1024", "proxy.bodiesBytesMax=1024"]);
    for (let n = 0; n < 4; n++) {
      const response = await fetch(`http://${server.address}/nowhere`, { method: "POST", body: Buffer.alloc(1_000) });
      expect([response.status, await response.text()]).toEqual([404, "404 page not found"]);
    }
    expect(await timeGiven(queryEntities)).toBe(5_000);
  });
});
