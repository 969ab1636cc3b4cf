/** The rules of the tree that no compiler checks: its layers, the size of its files, and that what documents name is there. */
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { describe, expect, it } from "vitest";
import { PROJECT_FOLDER } from "../runtime/version.ts";

const FOLDERS = ["actors", "bench", "client", "deploy", "docs", "native", "runtime", "scripts", "test"];
const LINES_MAX = 600;

const files = FOLDERS.flatMap((folder) =>
  readdirSync(join(PROJECT_FOLDER, folder), { recursive: true, encoding: "utf8" }).map((name) => join(folder, name)),
);
const sources = files.filter((file) => /^(actors|client|runtime|native)\/.*\.(ts|cc|h)$/.test(file));
const read = (file: string) => readFileSync(join(PROJECT_FOLDER, file), "utf8");

/** Files of this project that a module imports, by their paths in it. */
function importsOf(file: string): string[] {
  const found = read(file).matchAll(/(?:from|import\()\s*"(\.[^"]+)"/g);
  return Array.from(found, ([, path]) => join(dirname(file), path!));
}

/** "streaming" for actors/streaming.ts and for everything below actors/streaming/. */
const roleOf = (file: string) => /^actors\/([a-z]+)/.exec(file)?.[1];

describe("layers", () => {
  it("a role never imports another role", () => {
    const modules = sources.filter((file) => file.startsWith("actors/") && !file.endsWith(".test.ts"));
    const wrong = modules.flatMap((file) =>
      importsOf(file)
        .filter((path) => path.startsWith("actors/") && roleOf(path) !== roleOf(file))
        .map((path) => `${file} imports ${path}`),
    );
    expect(wrong).toEqual([]);
  });

  it("the runtime knows no role but where roles are hosted", () => {
    const modules = sources.filter((file) => file.startsWith("runtime/") && !file.endsWith(".test.ts"));
    const knowing = modules.filter((file) => importsOf(file).some((path) => path.startsWith("actors/")));
    expect(knowing).toEqual(["runtime/host-roles.ts"]);
  });
});

it(`no source has more than ${LINES_MAX} lines`, () => {
  expect(sources.filter((file) => read(file).trimEnd().split("\n").length > LINES_MAX)).toEqual([]);
});

/** Files named in a text, by a path or by the end of one. */
const named = (text: string) =>
  new Set(Array.from(text.matchAll(/(?<![\w*./-])[a-z][\w./-]*\.(?:ts|cc|h)(?![\w.])/g), ([path]) => path));
const isThere = (path: string) => files.some((file) => `/${file}`.endsWith(`/${path}`));

describe("files that are named are there", () => {
  const documents = ["README.md", ...files.filter((file) => /^docs\/[a-z]+\.md$/.test(file))];
  it.each(documents)("in %s", (document) => {
    const inCode = Array.from(read(document).matchAll(/`([^`\n]+)`/g), ([, code]) => code!).join("\n");
    expect([...named(inCode)].filter((path) => !isThere(path))).toEqual([]);
  });

  it("in comments", () => {
    const wrong = sources.flatMap((file) => {
      const comments = Array.from(read(file).matchAll(/\/\*.*?\*\/|\/\/[^\n]*/gs), ([comment]) => comment).join("\n");
      return [...named(comments)].filter((path) => !isThere(path)).map((path) => `${file} names ${path}`);
    });
    expect(wrong).toEqual([]);
  });
});
