/**
 * Access control: whether the caller of a public operation may do what it asks for. The calls of every transport pass
 * through here once, before anything but the names in the request is looked at.
 *
 * A change made through another proxy may not be known here yet, so a call is refused only after a look at the store.
 * Calls refused at the same time share one look.
 */
import { findUser } from "../../../runtime/access-control.ts";
import type { ActorContext } from "../../../runtime/actor.ts";
import type { Call } from "../../../runtime/bus/bus.ts";
import { VdbError } from "../../../runtime/errors.ts";
import type { Catalog } from "../../../runtime/meta/catalog.ts";
import { ANY, type NeededPrivilege, type PrivilegeName } from "../../../runtime/protocol/privileges.ts";
import type { PublicOperation } from "../../../runtime/protocol/public.ts";
import { textOf, valueIn } from "../parse-body.ts";
import { databaseName } from "../resolve.ts";
import { Authenticator } from "./authenticator.ts";
import { readCredentials } from "./credentials.ts";
import { checkResolved } from "./resolved.ts";
import { compileRights, type Rights } from "./rights.ts";

/** Documents that rights are made of. */
const SOURCES = ["user.", "role.", "privileges."];

const LOOK_MS = 5_000;

/** Of privileges of collections that are looked up by a name or an alias. */
const RESOLVED: ReadonlySet<NeededPrivilege["scope"]> = new Set(["collection", "alias"]);

export class AccessControl {
  readonly #actor: ActorContext;
  readonly #isOn: boolean;
  readonly authenticator: Authenticator;
  readonly #rights = new Map<string, Rights>();
  /** Who asked, for handlers that show each caller its own. */
  readonly #callers = new WeakMap<Call, Rights>();
  #looking: Promise<unknown> | undefined;

  constructor(actor: ActorContext) {
    this.#actor = actor;
    this.#isOn = actor.config.proxy.authorization;
    this.authenticator = new Authenticator(actor);
    for (const source of SOURCES) {
      actor.scope.use(actor.catalog.cache.subscribe(source, () => this.#rights.clear()));
    }
  }

  /**
   * Undefined when the call may go on at once, which is how it is with authorization off, and with a caller that is known.
   * @throws VdbError, or rejects with it: unauthenticated, not_permitted, rate_limited
   */
  admit(operation: PublicOperation, body: unknown, call: Call): Promise<void> | undefined {
    if (!this.#isOn) return undefined;
    const user = this.authenticator.known(call.authorization);
    if (user === undefined) return this.#admitAfterLook(operation, body, call);
    const rights = this.#rightsOf(user.name);
    if (refusal(this.#actor.catalog, rights, operation, body) !== undefined) {
      return this.#admitAfterLook(operation, body, call);
    }
    this.#admitted(operation, call, rights);
    return undefined;
  }

  /** Of the caller; undefined when everybody may do everything. */
  callerOf(call: Call): Rights | undefined {
    return this.#callers.get(call);
  }

  async #admitAfterLook(operation: PublicOperation, body: unknown, call: Call): Promise<void> {
    const { authenticator } = this;
    const { catalog } = this.#actor;
    let user = await authenticator.authenticate(call.authorization);
    if (user === undefined && (await this.#lookChanges(call))) {
      user = await authenticator.authenticate(call.authorization);
    }
    if (user === undefined) throw new VdbError("unauthenticated", "user hasn't authenticated");
    if (refusal(catalog, this.#rightsOf(user.name), operation, body) !== undefined) {
      await this.#look();
      const refused = refusal(catalog, this.#rightsOf(user.name), operation, body);
      if (refused !== undefined) throw refused;
    }
    this.#admitted(operation, call, this.#rightsOf(user.name));
  }

  #admitted({ privilege }: PublicOperation, call: Call, rights: Rights): void {
    this.#callers.set(call, rights);
    if (typeof privilege !== "object" || !RESOLVED.has(privilege.scope)) return;
    checkResolved(call, ({ database, name }) => {
      if (!rights.may(privilege.name, database, name)) throw notPermitted(rights, privilege.name, database);
    });
  }

  /** Whether the store, looked at now, has another user under the name that the caller gives, or has one at all. */
  async #lookChanges({ authorization }: Call): Promise<boolean> {
    const { catalog } = this.#actor;
    const userName = readCredentials(authorization)?.userName;
    if (userName === undefined) return false;
    const before = findUser(catalog, userName);
    await this.#look();
    return findUser(catalog, userName) !== before;
  }

  /** As of now. @throws VdbError unauthenticated when the user has gone */
  #rightsOf(userName: string): Rights {
    let rights = this.#rights.get(userName);
    if (rights === undefined) {
      const user = findUser(this.#actor.catalog, userName);
      if (user === undefined) throw new VdbError("unauthenticated", "user hasn't authenticated");
      rights = compileRights(this.#actor.catalog, user);
      this.#rights.set(userName, rights);
    }
    return rights;
  }

  /**
   * One look at a time. A call that comes during one waits for the next, since the one under way may have begun too
   * early.
   */
  async #look(): Promise<void> {
    const before = this.#looking;
    if (before !== undefined) {
      await before.catch(() => undefined);
      if (this.#looking !== undefined && this.#looking !== before) return void (await this.#looking);
    }
    const { catalog, clock } = this.#actor;
    // Its time limit is not that of any one caller: several wait for it.
    const looking = catalog.cache.sync(clock.monotonic() + LOOK_MS);
    this.#looking = looking;
    try {
      await looking;
    } finally {
      if (this.#looking === looking) this.#looking = undefined;
    }
  }
}

/** Why the caller may not; undefined when it may. */
export function refusal(
  catalog: Catalog,
  rights: Rights,
  { privilege, subject }: PublicOperation,
  body: unknown,
): VdbError | undefined {
  if (privilege === "authenticated") return undefined;
  if (privilege === undefined) {
    return new VdbError("not_permitted", `${subject} says nothing of who may ask it, so nobody may`);
  }
  if (isAllowed(catalog, rights, privilege, body)) return undefined;
  return notPermitted(rights, privilege.name, databaseName(textOf(body, "dbName")));
}

function notPermitted({ userName }: Rights, privilege: PrivilegeName, database: string): VdbError {
  return new VdbError(
    "not_permitted",
    `Privilege${privilege}: permission deny to ${userName} in the \`${database}\` database`,
    { details: { privilege } },
  );
}

function isAllowed(catalog: Catalog, rights: Rights, { name, scope }: NeededPrivilege, body: unknown): boolean {
  switch (scope) {
    case "collection": {
      const database = databaseName(textOf(body, "dbName"));
      return rights.may(name, database, inDatabase(catalog, database, textOf(body, "collectionName") ?? ANY));
    }
    case "segments": {
      const collection = catalog.collection(idIn(body, "collectionID"));
      return rights.may(name, collection?.database ?? ANY, collection?.name ?? ANY);
    }
    case "import": {
      const job = catalog.importJob(idIn(body, "jobId"));
      return rights.may(name, job?.database ?? ANY, job?.collectionName ?? ANY);
    }
    case "alias": {
      const database = databaseName(textOf(body, "dbName"));
      const alias = textOf(body, "aliasName") ?? ANY;
      const named = textOf(body, "collectionName");
      // Moving an alias takes it from the collection that has it. A new one belongs to no collection yet.
      const holder = catalog.collectionByName(database, alias)?.name ?? (named === undefined ? alias : undefined);
      return (
        (holder === undefined || rights.may(name, database, holder)) &&
        (named === undefined || rights.may(name, database, inDatabase(catalog, database, named)))
      );
    }
    case "database": {
      const database = databaseName(textOf(body, "dbName"));
      return rights.may(name, database, ANY) && rights.may(name, textOf(body, "newDbName") ?? database, ANY);
    }
    case "cluster":
      return rights.has(name);
    case "user": {
      const userName = textOf(body, "userName") ?? ANY;
      return userName === rights.userName || rights.mayUser(name, userName);
    }
    case "role":
      return rights.roles.includes(textOf(body, "roleName") ?? ANY) || rights.has(name);
  }
}

/** The collection's own name, when this is an alias of it. */
function inDatabase(catalog: Catalog, database: string, name: string): string {
  return catalog.collectionByName(database, name)?.name ?? name;
}

/** As handlers read it, who take keys in any case. */
function idIn(body: unknown, name: string): number {
  const value = valueIn(body, name);
  const id = typeof value === "string" && value !== "" ? Number(value) : value;
  return typeof id === "number" && Number.isSafeInteger(id) ? id : -1;
}
