/**
 * The segmenter of Chinese. Its dictionary takes 50 MB and 0.2 s to read, once a process, when it is first needed; it
 * belongs to the native library, so a thread can read it for all.
 */
import { createRequire } from "node:module";
import { Worker } from "node:worker_threads";

interface Jieba {
  cut(text: string, hmm: boolean): string[];
  cutForSearch(text: string, hmm: boolean): string[];
}

const library = "@node-rs/jieba";
const require = createRequire(import.meta.url);
let opened: Jieba | undefined;

/** The first call of one of its functions reads the dictionary, or waits until a thread that does so has done it. */
export function jieba(): Jieba {
  opened ??= require(library) as Jieba;
  return opened;
}

/** Reads the dictionary in a thread, unless it has been read. Resolves when that is done. */
export async function loadJieba(): Promise<void> {
  const source = `require(${JSON.stringify(require.resolve(library))}).cut("", false)`;
  await new Promise<void>((resolve, reject) => {
    const worker = new Worker(source, { eval: true });
    worker.once("error", reject);
    worker.once("exit", () => resolve());
  });
}
