import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { deriveSuiteSource, readOsRelease } from "./apt.mjs";
import {
  findNatsServer,
  installedNatsServerPath,
  parseNatsServerVersion,
  refuseNatsServerVersion,
} from "./find-nats-server.mjs";
import { readChecksum, releaseArchiveName } from "./nats-server.mjs";
import { checkNodeVersion, matchesLock } from "./npm-packages.mjs";

describe("nats-server versions", () => {
  it("reads what the server prints and what Debian calls its packages", () => {
    expect(parseNatsServerVersion("nats-server: v2.15.1\n")).toBe("2.15.1");
    expect(parseNatsServerVersion("2.9.10-1+b3")).toBe("2.9.10");
    expect(parseNatsServerVersion("nats-server: v2.16.0-RC.1")).toBe("2.16.0");
    expect(parseNatsServerVersion("command not found")).toBeUndefined();
  });

  it("refuses servers before 2.14, comparing numbers and not text", () => {
    expect(refuseNatsServerVersion("2.9.10")).toBe("version 2.9.10 is older than 2.14.0");
    expect(refuseNatsServerVersion("2.13.99")).toContain("older");
    expect(refuseNatsServerVersion("1.99.0")).toContain("older");
    expect(refuseNatsServerVersion(undefined)).toContain("unreadable");
    for (const version of ["2.14.0", "2.14.1", "2.15.1", "2.100.0", "3.0.0"]) {
      expect(refuseNatsServerVersion(version)).toBeUndefined();
    }
  });
});

describe.skipIf(process.platform === "win32")("finding nats-server", () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "vdb-setup-"));
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  function fakeServer(path: string, version: string): string {
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, `#!/bin/sh\necho "nats-server: v${version}"\n`);
    chmodSync(path, 0o755);
    return path;
  }

  it("takes VDB_NATS_SERVER first, then PATH, then the project's own", () => {
    const own = fakeServer(installedNatsServerPath(folder), "2.14.1");
    const onPath = fakeServer(join(folder, "bin", "nats-server"), "2.15.0");
    const chosen = fakeServer(join(folder, "chosen"), "2.16.0");
    const bin = dirname(onPath);
    expect(findNatsServer({ root: folder, env: { PATH: bin, VDB_NATS_SERVER: chosen } }).path).toBe(chosen);
    expect(findNatsServer({ root: folder, env: { PATH: bin } })).toEqual({
      path: onPath,
      version: "2.15.0",
      refused: [],
    });
    expect(findNatsServer({ root: folder, env: { PATH: "" } }).path).toBe(own);
  });

  it("passes over an old server on PATH and says so", () => {
    const old = fakeServer(join(folder, "bin", "nats-server"), "2.9.10");
    const own = fakeServer(installedNatsServerPath(folder), "2.15.1");
    const found = findNatsServer({ root: folder, env: { PATH: dirname(old) } });
    expect(found.path).toBe(own);
    expect(found.refused).toEqual([`${old}: version 2.9.10 is older than 2.14.0`]);
  });

  it("never passes over an explicit choice", () => {
    fakeServer(installedNatsServerPath(folder), "2.15.1");
    const old = fakeServer(join(folder, "chosen"), "2.9.10");
    expect(() => findNatsServer({ root: folder, env: { VDB_NATS_SERVER: old } })).toThrow("older than 2.14.0");
    expect(() => findNatsServer({ root: folder, env: { VDB_NATS_SERVER: join(folder, "absent") } })).toThrow("ENOENT");
  });

  it("finds nothing on an empty machine", () => {
    expect(findNatsServer({ root: folder, env: { PATH: folder } })).toEqual({ refused: [] });
  });
});

describe("release archives", () => {
  it("names them as the releases do", () => {
    const name = (platform: string, arch: string) => releaseArchiveName({ platform, arch, version: "2.15.1" });
    expect(name("linux", "x64")).toBe("nats-server-v2.15.1-linux-amd64.tar.gz");
    expect(name("linux", "arm64")).toBe("nats-server-v2.15.1-linux-arm64.tar.gz");
    expect(name("darwin", "arm64")).toBe("nats-server-v2.15.1-darwin-arm64.tar.gz");
    expect(name("win32", "x64")).toBe("nats-server-v2.15.1-windows-amd64.zip");
    expect(name("aix", "ppc64")).toBeUndefined();
  });

  it("finds a checksum by the whole file name", () => {
    const one = "a".repeat(64);
    const two = "B".repeat(64);
    const text = `${one}  nats-server-v2.15.1-linux-amd64.tar.gz.sig\n${two} *./nats-server-v2.15.1-linux-amd64.tar.gz\r\n`;
    expect(readChecksum(text, "nats-server-v2.15.1-linux-amd64.tar.gz")).toBe("b".repeat(64));
    expect(readChecksum(text, "nats-server-v2.15.1-linux-arm64.tar.gz")).toBeUndefined();
    expect(readChecksum("<html>not found</html>", "nats-server")).toBeUndefined();
  });
});

describe("a newer suite's apt source", () => {
  const forky = { codename: "bookworm", suite: "forky" };
  const derive = (name: string, text: string) => deriveSuiteSource([{ name, text }], forky);

  it("keeps mirror and key ring of the deb822 entry that serves the running release", () => {
    const text = `Types: deb
URIs: https://mirror.example/security
Suites: bookworm-security
Components: main

# the main archive
Types: deb deb-src
# URIs: https://old.example/debian
URIs: https://mirror.example/debian
Suites: bookworm bookworm-updates
Components: main contrib
Signed-By: /usr/share/keyrings/archive.gpg
`;
    expect(derive("debian.sources", text)).toBe(
      "types: deb\nuris: https://mirror.example/debian\nsuites: forky\ncomponents: main contrib\n" +
        "signed-by: /usr/share/keyrings/archive.gpg\ntargets: Packages\n",
    );
  });

  it("keeps a key that is written into the entry", () => {
    const key = " -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n mQINBF\n -----END PGP PUBLIC KEY BLOCK-----";
    const text = `Types: deb\nURIs: https://mirror.example/debian\nSuites: bookworm\nComponents: main\nSigned-By:\n${key}\n`;
    expect(derive("debian.sources", text)).toContain(`signed-by: \n${key}\ntargets: Packages\n`);
  });

  it("passes over entries that are switched off or for sources only", () => {
    const entry = "URIs: https://mirror.example/debian\nSuites: bookworm\nComponents: main\n";
    expect(derive("debian.sources", `Enabled: no\nTypes: deb\n${entry}`)).toBeUndefined();
    expect(derive("debian.sources", `Types: deb-src\n${entry}`)).toBeUndefined();
  });

  it("reads one-line entries with and without options", () => {
    const text = `# deb https://old.example/debian bookworm main
deb-src https://mirror.example/debian bookworm main
deb https://mirror.example/debian bookworm-updates main
deb [arch=amd64,arm64 signed-by=/usr/share/keyrings/archive.gpg] https://mirror.example/debian bookworm main contrib # ours
`;
    expect(derive("sources.list", text)).toBe(
      "types: deb\nuris: https://mirror.example/debian\nsuites: forky\ncomponents: main contrib\n" +
        "architectures: amd64 arm64\nsigned-by: /usr/share/keyrings/archive.gpg\ntargets: Packages\n",
    );
    expect(derive("a.list", "deb http://mirror.example/debian bookworm main\n")).toBe(
      "types: deb\nuris: http://mirror.example/debian\nsuites: forky\ncomponents: main\ntargets: Packages\n",
    );
  });

  it("finds nothing when no source serves the running release", () => {
    expect(derive("a.list", "deb http://mirror.example/tool nodistro main\n")).toBeUndefined();
    expect(derive("empty.sources", "")).toBeUndefined();
  });

  it("reads the running release's name", () => {
    const text = 'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nVERSION_CODENAME=bookworm\nID=debian\n';
    expect(readOsRelease(text, "VERSION_CODENAME")).toBe("bookworm");
    expect(readOsRelease(text, "ID")).toBe("debian");
    expect(readOsRelease(text, "VARIANT")).toBeUndefined();
  });
});

describe("Node and npm packages", () => {
  it("refuses a Node before 20.15", () => {
    expect(() => checkNodeVersion("18.20.4")).toThrow("install Node 20.15 or newer");
    expect(() => checkNodeVersion("20.14.0")).toThrow("20.14.0");
    for (const version of ["20.15.0", "20.20.2", "22.1.0"]) expect(() => checkNodeVersion(version)).not.toThrow();
  });

  it("installs again when a package is missing, of another version or no longer wanted", () => {
    const wanted = { a: { version: "1.0.0" }, b: { version: "2.0.0" }, mac: { version: "3.0.0", optional: true } };
    const { a, b, mac } = wanted;
    expect(matchesLock(wanted, { a, b })).toBe(true);
    expect(matchesLock(wanted, { a, b, mac })).toBe(true);
    expect(matchesLock(wanted, { a, mac })).toBe(false);
    expect(matchesLock(wanted, { a, b: { version: "2.0.1" } })).toBe(false);
    expect(matchesLock(wanted, { a, b, extra: { version: "1.0.0" } })).toBe(false);
    expect(matchesLock(wanted, {})).toBe(false);
  });
});
