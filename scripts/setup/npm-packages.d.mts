interface LockedPackage {
  version: string;
  optional?: boolean;
  devOptional?: boolean;
}

export declare function checkNodeVersion(version?: string): void;
export declare function matchesLock(
  wanted: Record<string, LockedPackage>,
  installed: Record<string, LockedPackage>,
): boolean;
