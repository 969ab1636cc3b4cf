/** What every transport must do: the tests that an implementation of the port passes. */
import { beforeEach, describe, expect, test } from "vitest";
import type { Transport, WireMessage } from "./port.ts";

export interface TransportHarness {
  /** Transports on connections of their own to the same server. */
  open(count: number): Promise<Transport[]>;
  /** Ends the server, and starts it again. */
  restart(): Promise<void>;
}

export function describeTransport(harness: () => TransportHarness): void {
  let a: Transport;
  let b: Transport;
  let c: Transport;
  let tests = 0;
  /** First token of a test's subjects. */
  let t: string;
  beforeEach(async () => {
    [a, b, c] = (await harness().open(3)) as [Transport, Transport, Transport];
    t = `transport${++tests}`;
  });

  /** Has a transport listen; `reached` resolves when so many messages have come. */
  const listen = async (transport: Transport, subject: string, options: { queue?: string } = {}) => {
    const messages: WireMessage[] = [];
    let check = (): void => undefined;
    const subscription = transport.subscribe(
      subject,
      (message) => {
        messages.push(message);
        check();
      },
      options,
    );
    await transport.flush();
    const reached = (count: number): Promise<void> =>
      new Promise((resolve) => {
        check = () => {
          if (messages.length >= count) resolve();
        };
        check();
      });
    return { messages, subscription, reached };
  };

  describe("a message", () => {
    test("reaches every subscriber, with its headers and its reply subject", async () => {
      const [first, second] = [await listen(b, `${t}.x`), await listen(c, `${t}.x`)];
      a.publish(`${t}.x`, text("hello"), { reply: `${t}.answer`, headers: { "Vdb-Test": "1" } });
      await Promise.all([first.reached(1), second.reached(1)]);
      for (const { messages } of [first, second]) {
        const [message] = messages;
        expect(read(message!)).toBe("hello");
        expect(message!.subject).toBe(`${t}.x`);
        expect(message!.reply).toBe(`${t}.answer`);
        expect([message!.header("Vdb-Test"), message!.header("Vdb-Other")]).toEqual(["1", undefined]);
        expect(message!.noResponders).toBe(false);
      }
    });

    test("reaches who sent it, when that one listens too", async () => {
      const own = await listen(a, `${t}.x`);
      a.publish(`${t}.x`, text("hello"));
      await own.reached(1);
      expect(own.messages[0]!.reply).toBeUndefined();
    });

    test("reaches those whose wildcards cover its subject, and nobody else", async () => {
      const star = await listen(b, `${t}.*.end`);
      const last = await listen(b, `${t}.a.*`);
      const rest = await listen(c, `${t}.>`);
      for (const subject of [`${t}.a.end`, `${t}.b.end`, `${t}.a.b.end`, `${t}.a`]) a.publish(subject, text("x"));
      await rest.reached(4);
      // That one has a message says nothing of the next: all have theirs once the sender's next word is answered.
      await a.flush();
      await b.flush();
      // Between subjects no order is promised.
      expect(new Set(star.messages.map(({ subject }) => subject))).toEqual(new Set([`${t}.a.end`, `${t}.b.end`]));
      expect(star.messages).toHaveLength(2);
      expect(last.messages.map(({ subject }) => subject)).toEqual([`${t}.a.end`]);
    });

    test("comes after those that its sender sent to its subject before", async () => {
      const heard = await listen(b, `${t}.x`);
      for (let i = 0; i < 200; i++) a.publish(`${t}.x`, text(String(i)));
      await heard.reached(200);
      expect(heard.messages.map(read)).toEqual(Array.from({ length: 200 }, (_, i) => String(i)));
    });

    test("to a queue group reaches one member, and all members get some", async () => {
      const members = [await listen(b, `${t}.x`, { queue: "g" }), await listen(c, `${t}.x`, { queue: "g" })];
      const outsider = await listen(a, `${t}.x`);
      for (let i = 0; i < 200; i++) a.publish(`${t}.x`, text(String(i)));
      await outsider.reached(200);
      await a.flush();
      await Promise.all([b.flush(), c.flush()]);
      const counts = members.map(({ messages }) => messages.length);
      expect(counts[0]! + counts[1]!).toBe(200);
      for (const count of counts) expect(count).toBeGreaterThan(0);
    });
  });

  describe("a request", () => {
    test("is answered below the sender's inbox", async () => {
      const inbox = await listen(a, `${a.inbox}.*`);
      b.subscribe(`${t}.ask`, (message) => b.publish(message.reply!, text(`${read(message)}!`)));
      await b.flush();
      a.publish(`${t}.ask`, text("x"), { reply: `${a.inbox}.7` });
      await inbox.reached(1);
      expect([inbox.messages[0]!.subject, read(inbox.messages[0]!)]).toEqual([`${a.inbox}.7`, "x!"]);
      expect(a.inbox).not.toBe(b.inbox);
    });

    test("that nobody listens to is answered by the server", async () => {
      const inbox = await listen(a, `${a.inbox}.*`);
      a.publish(`${t}.nobody`, text("x"), { reply: `${a.inbox}.8` });
      await inbox.reached(1);
      expect(inbox.messages[0]).toMatchObject({ subject: `${a.inbox}.8`, noResponders: true });
    });
  });

  describe("a subscription", () => {
    test("that has ended gets nothing more", async () => {
      const [ended, other] = [await listen(b, `${t}.x`), await listen(c, `${t}.x`)];
      ended.subscription.unsubscribe();
      await b.flush();
      a.publish(`${t}.x`, text("x"));
      await other.reached(1);
      await b.flush();
      expect(ended.messages).toEqual([]);
    });

    test("that drains gets what the server had for it, and then nobody listens", async () => {
      const draining = await listen(b, `${t}.x`);
      const inbox = await listen(a, `${a.inbox}.*`);
      for (let i = 0; i < 50; i++) a.publish(`${t}.x`, text(String(i)));
      await a.flush();
      await draining.subscription.drain();
      expect(draining.messages).toHaveLength(50);
      a.publish(`${t}.x`, text("late"), { reply: `${a.inbox}.9` });
      await inbox.reached(1);
      expect(inbox.messages[0]!.noResponders).toBe(true);
    });
  });

  test("a lost connection is told when it goes and when it is back, with its subscriptions", async () => {
    const heard = await listen(b, `${t}.x`);
    let calls = 0;
    let back = (): void => undefined;
    const isBack = new Promise<void>((resolve) => {
      back = resolve;
    });
    const others = [a, b].map(
      (transport) =>
        new Promise<void>((resolve) => {
          let told = 0;
          transport.onDisconnect(() => {
            if (++told === 2) resolve();
          });
        }),
    );
    b.onDisconnect(() => {
      if (++calls === 2) back();
    });
    await harness().restart();
    await Promise.all([isBack, ...others]);
    expect(calls).toBe(2);
    await b.flush();
    a.publish(`${t}.x`, text("again"));
    await heard.reached(1);
    expect(heard.messages.map(read)).toEqual(["again"]);
  });

  test("a body that is larger than the limit is refused, one of the limit's size less headers is not", async () => {
    const heard = await listen(b, `${t}.x`);
    expect(() => a.publish(`${t}.x`, new Uint8Array(a.maxPayload + 1))).toThrow();
    a.publish(`${t}.x`, new Uint8Array(a.maxPayload - 1_000), { headers: { "Vdb-Test": "1" } });
    await heard.reached(1);
    expect(heard.messages[0]!.data.length).toBe(a.maxPayload - 1_000);
  });

  test("traffic is counted", async () => {
    await listen(b, `${t}.x`);
    const [before, beforeB] = [a.traffic(), b.traffic()];
    a.publish(`${t}.x`, new Uint8Array(10_000));
    await a.flush();
    await b.flush();
    expect(a.traffic().sentBytes - before.sentBytes).toBeGreaterThanOrEqual(10_000);
    expect(b.traffic().receivedBytes - beforeB.receivedBytes).toBeGreaterThanOrEqual(10_000);
  });
}

const text = (value: string): Uint8Array => new TextEncoder().encode(value);
const read = ({ data }: WireMessage): string => Buffer.from(data).toString();
