/** Calls as their library ends them, by a clock that stands still. */
import { once } from "node:events";
import { type ClientHttp2Stream, connect } from "node:http2";
import { type AddressInfo, createServer } from "node:net";
import { status } from "@grpc/grpc-js";
import { afterEach, expect, test } from "vitest";
import { ManualClock } from "../../../runtime/testing/manual-clock.ts";
import { BODY_MS, BodyBudget } from "../request-bodies.ts";
import { type CallOptions, makeCalls } from "./calls.ts";
import { loadDefinitions } from "./definitions.ts";

const method = loadDefinitions().methods.find(({ name }) => name === "GetVersion")!;
const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

async function open(clock: ManualClock, admit?: CallOptions["admit"]): Promise<ClientHttp2Stream> {
  const calls = makeCalls({
    ...{ clock, admit, budget: new BodyBudget(1_000), messageBytesMax: 1_000, replyBytesMax: 1_000, callsMax: 10 },
    methods: [method],
    answer: async (_, call) => call.message(),
  });
  const server = createServer((connection) => calls.take(connection)).listen(0, "127.0.0.1");
  await once(server, "listening");
  const client = connect(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
  cleanups.push(
    () => server.close(),
    () => calls.close(),
    () => client.close(),
  );
  return client.request({
    ...{ ":method": "POST", ":path": method.path },
    ...{ "content-type": "application/grpc", te: "trailers" },
  });
}

/** A message of two bytes. */
const WHOLE = Buffer.from([0, 0, 0, 0, 2, 7, 7]);

test.each([
  ["anybody", undefined],
  ["who is known", () => Promise.resolve()],
])("a call of %s whose message does not become whole ends", async (_, admit) => {
  const clock = new ManualClock();
  const call = await open(clock, admit);
  call.write(WHOLE.subarray(0, 6));
  await expect.poll(() => clock.pending).toBe(1);
  const replied = once(call, "response");
  await clock.advance(BODY_MS);
  const [headers] = await replied;
  expect(headers["grpc-status"]).toBe(String(status.DEADLINE_EXCEEDED));
  call.end();
  call.resume();
  expect(clock.pending).toBe(0);
});

test("a call whose message is whole is not timed any more", async () => {
  const clock = new ManualClock();
  const call = await open(clock);
  const trailers = once(call, "trailers");
  call.end(WHOLE);
  call.resume();
  expect((await trailers)[0]["grpc-status"]).toBe(String(status.OK));
  expect(clock.pending).toBe(0);
});

test("nor is one whose client has gone", async () => {
  const clock = new ManualClock();
  const call = await open(clock);
  call.write(WHOLE.subarray(0, 6));
  await expect.poll(() => clock.pending).toBe(1);
  call.close();
  await expect.poll(() => clock.pending).toBe(0);
});
