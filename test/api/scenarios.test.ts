/**
 * What the REST API does, request by request (README.md): in one process over HTTP, and by a node for each role over
 * NATS. VDB_API_URL=http://host:19530 runs the same against any server that speaks Milvus's REST v2.
 */
import { afterAll, beforeAll, describe, test } from "vitest";
import { ROLES, type Role } from "../../runtime/actor.ts";
import { readScenarios, ScenarioRun } from "./scenario.ts";
import { httpServer, type Server, startHttpServer, startNatsServer } from "./transports.ts";

const url = process.env.VDB_API_URL;

/** The coordinator first: it makes the stores that the others wait for. */
const FIVE_NODES: Role[] = ["coordinator", "streaming", "query", "data", "proxy"];

const SERVERS: { server: string; isHttp: boolean; start: () => Promise<Server> }[] =
  url !== undefined
    ? [{ server: url, isHttp: true, start: async () => httpServer(url) }]
    : [
        { server: "one process, JSON over HTTP", isHttp: true, start: () => startHttpServer(ROLES) },
        { server: "five nodes, MessagePack over NATS", isHttp: false, start: () => startNatsServer(FIVE_NODES) },
      ];

describe.each(SERVERS)("$server", ({ start, isHttp }) => {
  let server: Server;

  beforeAll(async () => {
    server = await start();
  });

  afterAll(() => server?.[Symbol.asyncDispose]());

  describe.each(readScenarios())("$file: $title", (scenario) => {
    const run = new ScenarioRun((...request) => server.send(...request));
    const cases = scenario.cases.map((one, i) => ({ ...one, number: `${scenario.number}.${i + 1}` }));

    beforeAll(async () => {
      if (url !== undefined) await run.dropLeftovers(scenario);
      await run.setUp(scenario);
    });

    test.each(cases.filter(({ only }) => only === undefined || isHttp))(
      "$number $name",
      async ({ before, ...request }) => {
        for (const step of before) await run.ask({ ...step, expect: step.expect ?? { code: 0 } });
        await run.ask(request);
      },
    );
  });
});
