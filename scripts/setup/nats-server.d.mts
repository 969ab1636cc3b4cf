export declare function releaseArchiveName(machine: {
  platform: string;
  arch: string;
  version?: string;
}): string | undefined;
export declare function readChecksum(text: string, fileName: string): string | undefined;
