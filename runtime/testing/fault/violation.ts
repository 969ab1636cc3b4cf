/** What the checker finds wrong. */
export type ViolationKind =
  | "lost"
  | "stale"
  | "resurrected"
  | "disorder"
  | "unwritten"
  | "torn"
  | "duplicate"
  | "static"
  | "timestamp"
  | "two_owners"
  | "two_leaders";

export interface Violation {
  kind: ViolationKind;
  message: string;
  /** When it was seen, on the history's clock. */
  at: number;
}

export type Report = (kind: ViolationKind, at: number, message: string) => void;
