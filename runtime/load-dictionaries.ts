/**
 * The dictionary that analyzers of Chinese need takes long to load: that begins when a collection has such an analyzer,
 * aside, and not when the first of its texts comes. A node that starts beside such a collection serves when it has it.
 */
import type { Machine } from "./machine/port.ts";
import type { Catalog } from "./meta/catalog.ts";
import { metaKeys } from "./protocol/catalog.ts";
import { needsDictionary } from "./text/field-analyzer.ts";

/** `ready` resolves when what the collections of now need is loaded. */
export function loadDictionaries(
  catalog: Catalog,
  { loadDictionary }: Pick<Machine, "loadDictionary">,
): Disposable & { ready: Promise<void> } {
  let isLoaded = loadDictionary === undefined;
  let ready = Promise.resolve();
  const look = (collections: ReturnType<Catalog["collections"]>) => {
    if (isLoaded || !collections.some(({ schema }) => schema.fields.some(needsDictionary))) return;
    isLoaded = true;
    ready = loadDictionary!();
  };
  look(catalog.collections());
  const prefix = metaKeys.collection(0).slice(0, -1);
  const watch = catalog.cache.subscribe(prefix, (keys) => {
    if (!isLoaded) look(keys.flatMap((key) => catalog.collection(Number(key.slice(prefix.length))) ?? []));
  });
  return { ready, [Symbol.dispose]: () => watch[Symbol.dispose]() };
}
