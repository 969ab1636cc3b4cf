export declare const natsServerVersionMin: string;
export declare function installedNatsServerPath(root: string): string;
export declare function parseNatsServerVersion(text: string): string | undefined;
export declare function refuseNatsServerVersion(version: string | undefined): string | undefined;
export declare function inspectNatsServer(path: string): { version?: string; refusal?: string };
export declare function findNatsServer(options: { root: string; env?: Record<string, string | undefined> }): {
  path?: string;
  version?: string;
  refused: string[];
};
