/** Scenario files: requests and the replies that they must get, as README.md describes them. */
import { readdirSync, readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { parse } from "yaml";
import { z } from "zod";
import { mismatch } from "./matches.ts";

const Request = z.strictObject({
  /** Below /v2/vectordb/. */
  post: z.string(),
  body: z.record(z.string(), z.unknown()).default({}),
  headers: z.record(z.string(), z.string()).optional(),
  expect: z.unknown().optional(),
  /** Asked again until it answers as expected. */
  eventually: z.boolean().default(false),
  /** Variables taken from the reply: name to path, as in `data.0.id`. */
  save: z.record(z.string(), z.string()).default({}),
});
type Request = z.infer<typeof Request>;

const Case = Request.extend({
  name: z.string(),
  /** A case that expects nothing shows nothing. */
  expect: z.looseObject({ code: z.unknown().refine((code) => code !== undefined, "a case expects a code") }),
  /** Sent first; each must succeed, but where it says otherwise. */
  before: z.array(Request).default([]),
  /** Where the case can be asked: only over HTTP when it is about HTTP. */
  only: z.literal("http").optional(),
});

const Scenario = z.strictObject({
  title: z.string(),
  setup: z.array(Request).default([]),
  cases: z.array(Case).min(1),
});

export interface NumberedScenario extends z.infer<typeof Scenario> {
  /** "040-databases". */
  file: string;
  /** "040": its collections begin with `c040_`, its databases with `d040_`. */
  number: string;
}

/** How a request is sent: the body of its reply. */
export type Send = (path: string, body: unknown, headers: Record<string, string>) => Promise<unknown>;

const FOLDER = new URL("./scenarios/", import.meta.url);
const EVENTUALLY_MS = 60_000;
const PAUSE_MS = 200;

export function readScenarios(): NumberedScenario[] {
  return readdirSync(FOLDER)
    .filter((name) => name.endsWith(".yaml"))
    .sort()
    .map((name) => {
      const file = name.slice(0, -".yaml".length);
      const scenario = Scenario.safeParse(
        parse(readFileSync(new URL(name, FOLDER), "utf8"), exact, { merge: true, intAsBigInt: true }),
      );
      if (!scenario.success) throw new Error(`${name}: ${z.prettifyError(scenario.error)}`);
      return { ...scenario.data, file, number: file.slice(0, 3) };
    });
}

/** Integers that a number does not hold stay exact, so that they can be sent in every encoding. */
function exact(_key: unknown, value: unknown): unknown {
  if (typeof value !== "bigint") return value;
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : value;
}

/** Runs one scenario's requests, in order, with what they share. */
export class ScenarioRun {
  readonly #send: Send;
  readonly #variables = new Map<string, unknown>();

  constructor(send: Send) {
    this.#send = send;
  }

  async setUp({ setup }: NumberedScenario): Promise<void> {
    for (const request of setup) await this.ask({ ...request, expect: request.expect ?? { code: 0 } });
  }

  /** @throws Error that says how the reply differs */
  async ask({ post, body, headers = {}, expect, eventually, save }: Request): Promise<void> {
    const giveUp = Date.now() + EVENTUALLY_MS;
    const wanted = expect === undefined ? undefined : this.#fill(expect, null);
    for (;;) {
      const sent = this.#fill(body, null);
      const reply = await this.#send(post, sent, headers);
      const problem = wanted === undefined ? null : mismatch(reply, wanted);
      if (problem === null) {
        for (const [name, path] of Object.entries(save)) this.#variables.set(name, at(reply, path));
        return;
      }
      if (!eventually || Date.now() > giveUp) throw new Error(`${post}: ${problem}`);
      await sleep(PAUSE_MS);
    }
  }

  /** A body as it is sent. @throws Error for a variable that was not saved */
  bodyOf(body: unknown): unknown {
    return this.#fill(body, null);
  }

  /** What an earlier run left on a server. */
  async dropLeftovers({ number }: NumberedScenario): Promise<void> {
    const databases = listOf(await this.#send("databases/list", {}, {})).filter((name) =>
      name.startsWith(`d${number}_`),
    );
    for (const dbName of ["default", ...databases]) {
      for (const collectionName of listOf(await this.#send("collections/list", { dbName }, {}))) {
        if (dbName === "default" && !collectionName.startsWith(`c${number}_`)) continue;
        await this.#send("collections/drop", { dbName, collectionName }, {});
      }
      if (dbName !== "default") await this.#send("databases/drop", { dbName }, {});
    }
  }

  /** `${name}` is a variable; `$rows` makes rows; a text that begins with `=` is computed of the row's number `i`. */
  #fill(value: unknown, i: number | null): unknown {
    if (typeof value === "string")
      return i !== null && value.startsWith("=") ? computed(value.slice(1), i) : this.#named(value);
    if (Array.isArray(value)) return value.map((item) => this.#fill(item, i));
    if (typeof value !== "object" || value === null) return value;
    const { $rows: rows } = value as { $rows?: { count: number; start?: number; row: unknown } };
    if (rows !== undefined) {
      return Array.from({ length: rows.count }, (_, n) => this.#fill(rows.row, (rows.start ?? 0) + n));
    }
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, this.#fill(item, i)]));
  }

  #named(text: string): unknown {
    const whole = /^\$\{(\w+)\}$/.exec(text);
    if (whole !== null) return this.#variable(whole[1]!);
    return text.replace(/\$\{(\w+)\}/g, (_, name: string) => String(this.#variable(name)));
  }

  #variable(name: string): unknown {
    if (!this.#variables.has(name)) throw new Error(`variable ${name} was not saved`);
    return this.#variables.get(name);
  }
}

function computed(expression: string, i: number): unknown {
  return (new Function("i", `return (${expression});`) as (i: number) => unknown)(i);
}

function listOf(reply: unknown): string[] {
  const { data } = reply as { data?: unknown };
  return Array.isArray(data) ? (data as string[]) : [];
}

function at(value: unknown, path: string): unknown {
  return path.split(".").reduce<unknown>((part, key) => (part as Record<string, unknown> | undefined)?.[key], value);
}
