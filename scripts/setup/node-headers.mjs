/** Where Node's own header files are, for compiling addons. */
import { existsSync, realpathSync } from "node:fs";
import { homedir } from "node:os";
import { dirname, join } from "node:path";

/** Where node-gyp would look: beside the node binary, then the distribution's, then node-gyp's own downloads. */
export function nodeHeaderFolders() {
  const prefix = dirname(dirname(realpathSync(process.execPath)));
  return [
    join(prefix, "include", "node"),
    "/usr/include/node",
    "/usr/include/nodejs/src",
    join(homedir(), ".cache", "node-gyp", process.versions.node, "include", "node"),
  ];
}

/** Returns the folder that has node_api.h, or nothing. */
export function findNodeHeaders() {
  return nodeHeaderFolders().find((path) => existsSync(join(path, "node_api.h")));
}
