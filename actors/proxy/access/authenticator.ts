/**
 * Who the caller is. A password is checked against the stored hash once; then it is remembered, as a keyed digest,
 * until the user's document changes, so that a call costs no password hash.
 *
 * Hashing is expensive on purpose, so it is bounded: a few hashes at a time, one for each user, with a short queue
 * behind it; names of no user share one queue. A flood of wrong passwords neither stops the calls of known users, nor
 * gets more attempts than the queues hold.
 */
import { createHmac, randomBytes } from "node:crypto";
import { findUser } from "../../../runtime/access-control.ts";
import type { ActorContext } from "../../../runtime/actor.ts";
import { VdbError } from "../../../runtime/errors.ts";
import { hashPassword, verifyPassword } from "../../../runtime/passwords.ts";
import type { UserDoc } from "../../../runtime/protocol/catalog.ts";
import { Slots } from "../../../runtime/slots.ts";
import { type Credentials, readCredentials } from "./credentials.ts";

/** Of the four threads that the process has for such work, two are left for files. */
const HASHES_AT_ONCE = 2;

/** Attempts of one user that wait. */
const LINE_MAX = 8;

const REMEMBERED_MAX = 4_096;

/** After which a caller that was turned away may find a shorter line. */
const RETRY_MS = 1_000;

/** Shared by all names that are no user's. */
const NOBODY = "";

interface Remembered {
  userName: string;
  user: UserDoc;
}

export class Authenticator {
  readonly #actor: ActorContext;
  /** Of this process: what it remembers is of no use elsewhere. */
  readonly #key = randomBytes(32);
  /** By digest of what the call said; a user that has changed since is asked anew. Oldest first. */
  readonly #remembered = new Map<string, Remembered>();
  /** Calls that say the same at a time share one check. */
  readonly #checking = new Map<string, Promise<UserDoc | undefined>>();
  readonly #hashes = new Slots(HASHES_AT_ONCE);
  readonly #lines = new Map<string, { turns: Slots; length: number }>();
  #decoyMade: Promise<string> | undefined;

  constructor(actor: ActorContext) {
    this.#actor = actor;
  }

  /** The user, when it is known without hashing. */
  known(authorization: string | undefined): UserDoc | undefined {
    if (authorization === undefined) return undefined;
    const remembered = this.#remembered.get(this.#digest(authorization));
    if (remembered === undefined) return undefined;
    // The cache hands out the same document until it changes.
    return findUser(this.#actor.catalog, remembered.userName) === remembered.user ? remembered.user : undefined;
  }

  /** The user; undefined when the caller is nobody, or says a wrong password. @throws VdbError rate_limited */
  async authenticate(authorization: string | undefined): Promise<UserDoc | undefined> {
    const known = this.known(authorization);
    if (known !== undefined || authorization === undefined) return known;
    const credentials = readCredentials(authorization);
    if (credentials === undefined) return undefined;
    const digest = this.#digest(authorization);
    let checking = this.#checking.get(digest);
    if (checking === undefined) {
      checking = this.#check(digest, credentials).finally(() => this.#checking.delete(digest));
      this.#checking.set(digest, checking);
    }
    return checking;
  }

  async #check(digest: string, { userName, password }: Credentials): Promise<UserDoc | undefined> {
    if (!(await this.isPassword(userName, password))) return undefined;
    const user = findUser(this.#actor.catalog, userName);
    if (user !== undefined) this.#remember(digest, { userName, user });
    return user;
  }

  /** Whether it is the user's. @throws VdbError rate_limited when too many are being checked */
  async isPassword(userName: string, password: string): Promise<boolean> {
    const user = findUser(this.#actor.catalog, userName);
    return this.#inLine(user === undefined ? NOBODY : userName, async () => {
      // Unknown users are checked against it: trying a password takes as long whether or not there is such a user.
      const stored = user === undefined || user.password === "" ? await this.#decoy() : user.password;
      const isStored = await verifyPassword(password, stored);
      if (user === undefined) return false;
      const isRight = user.password === "" ? this.#isConfigured(password) : isStored;
      // The password may have been changed meanwhile: one that was right then may be wrong now.
      return isRight && findUser(this.#actor.catalog, userName)?.password === user.password;
    });
  }

  /** Of a password that nobody has. */
  #decoy(): Promise<string> {
    this.#decoyMade ??= hashPassword(randomBytes(16).toString("base64"));
    return this.#decoyMade;
  }

  /** Of root, as long as it has none of its own. Compared as digests: how much of it is right takes no time to tell. */
  #isConfigured(password: string): boolean {
    return this.#digest(password) === this.#digest(this.#actor.config.proxy.rootPassword);
  }

  async #inLine<T>(name: string, job: () => Promise<T>): Promise<T> {
    let line = this.#lines.get(name);
    if (line === undefined) {
      line = { turns: new Slots(1), length: 0 };
      this.#lines.set(name, line);
    }
    if (line.length > LINE_MAX) {
      throw new VdbError(
        "rate_limited",
        // Does not say whether there is such a user: that is nobody's business.
        "request is rejected by limiter: too many passwords are being checked, try again later",
        { details: { retryAfterMs: RETRY_MS } },
      );
    }
    line.length++;
    try {
      return await line.turns.run(() => this.#hashes.run(job));
    } finally {
      line.length--;
      if (line.length === 0) this.#lines.delete(name);
    }
  }

  #remember(digest: string, entry: Remembered): void {
    this.#remembered.delete(digest);
    this.#remembered.set(digest, entry);
    if (this.#remembered.size <= REMEMBERED_MAX) return;
    for (const oldest of this.#remembered.keys()) {
      this.#remembered.delete(oldest);
      break;
    }
  }

  #digest(text: string): string {
    return createHmac("sha256", this.#key).update(text).digest("base64");
  }
}
