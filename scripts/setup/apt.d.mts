export declare function readOsRelease(text: string, key: string): string | undefined;
export declare function deriveSuiteSource(
  files: { name: string; text: string }[],
  wanted: { codename: string; suite: string },
): string | undefined;
