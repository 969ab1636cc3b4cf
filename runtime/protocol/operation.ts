/**
 * What an operation is. Each is declared once, in this folder: subject, request and reply with their validation, time
 * limit, retry safety. The bus and the actors take the declaration; nothing else in the code spells a subject.
 */
import type { z } from "zod";
import type { NeededPrivilege } from "./privileges.ts";

/** The names in braces of a subject: "query.{nodeId}.search" has { nodeId }. */
export type SubjectParams<Subject extends string> = Subject extends `${string}{${infer Name}}${infer Rest}`
  ? { [Key in Name]: string | number } & SubjectParams<Rest>
  : unknown;

export interface Operation<Subject extends string = string, Request = unknown, Reply = unknown> {
  /** Below the cluster's prefix; `{name}` tokens are filled in by the caller. */
  readonly subject: Subject;
  readonly request: z.ZodType<Request>;
  readonly reply: z.ZodType<Reply>;
  /** Time limit for callers that bring no deadline of their own. */
  readonly timeoutMs: number;
  /** Whether a caller may repeat it after an unknown outcome. */
  readonly idempotent: boolean;
  /**
   * The version of the nodes' protocol that a request takes, by what is in it (versions.ts); absent: the first. A node that
   * does not know that much refuses it, where it would otherwise leave out what it does not know.
   */
  takes?(request: Request): number;
  /** Part of the public API: JSON or MessagePack by the Content-Type header, any NATS client may call it. */
  readonly isPublic?: boolean;
  /** What a caller needs when authorization is on. Absent: nobody may call it. */
  readonly privilege?: NeededPrivilege | "authenticated";
}

export function operation<const Subject extends string, Request, Reply>(
  subject: Subject,
  declaration: Omit<Operation<Subject, Request, Reply>, "subject">,
): Operation<Subject, Request, Reply> {
  return { subject, ...declaration };
}

/** Subject with its parameters in place. A parameter must be one legal NATS token, or a wildcard could be smuggled in. */
export function fillSubject(subject: string, params: Record<string, string | number>): string {
  // Text and names in turn.
  const parts = splitSubjects.get(subject) ?? subject.split(/\{(\w+)\}/);
  splitSubjects.set(subject, parts);
  let filled = parts[0]!;
  for (let i = 1; i < parts.length; i += 2) {
    const value = params[parts[i]!];
    if (value === undefined || !TOKEN.test(String(value))) {
      throw new Error(`subject ${subject}: parameter ${parts[i]!} is not a subject token: ${String(value)}`);
    }
    filled += `${value}${parts[i + 1]!}`;
  }
  return filled;
}

const TOKEN = /^[\w-]+$/;

/** Every ask fills one, and there are as many as declared operations. */
const splitSubjects = new Map<string, string[]>();
