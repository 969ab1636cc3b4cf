import { expect, test } from "vitest";
import { loadDictionaries } from "./load-dictionaries.ts";
import type { Catalog } from "./meta/catalog.ts";
import type { CollectionDoc } from "./protocol/catalog.ts";

function catalogOf(analyzers: (string | undefined)[]) {
  let tell = (_: string[]) => {};
  const collections = analyzers.map((analyzerParams) => ({ schema: { fields: [{ name: "t", analyzerParams }] } }));
  const catalog = {
    collections: () => collections,
    collection: (id: number) => collections[id],
    cache: {
      subscribe: (_: string, callback: (keys: string[]) => void) => {
        tell = callback;
        return { [Symbol.dispose]: () => {} };
      },
    },
  } as unknown as Catalog;
  const add = (analyzerParams: string) => {
    collections.push({ schema: { fields: [{ name: "t", analyzerParams }] } } as CollectionDoc &
      (typeof collections)[0]);
    tell([`collection.${collections.length - 1}`]);
  };
  return { catalog, add };
}

test("the dictionary is loaded once, when the first collection with an analyzer of Chinese is seen", () => {
  let loads = 0;
  const { catalog, add } = catalogOf([undefined, '{"type":"english"}']);
  loadDictionaries(catalog, { loadDictionary: async () => void loads++ });
  add('{"tokenizer":"standard"}');
  expect(loads).toBe(0);
  add('{"tokenizer": {"type": "jieba", "mode": "exact"}}');
  add('{"type":"chinese"}');
  expect(loads).toBe(1);
});

test("a node that starts beside such a collection loads it at once, and is ready when it is loaded", async () => {
  let finish = () => {};
  const loaded = new Promise<void>((resolve) => {
    finish = resolve;
  });
  const { ready } = loadDictionaries(catalogOf(['{"type":"chinese"}']).catalog, { loadDictionary: () => loaded });
  expect(await Promise.race([ready.then(() => "ready"), Promise.resolve("waiting")])).toBe("waiting");
  finish();
  await ready;
});
