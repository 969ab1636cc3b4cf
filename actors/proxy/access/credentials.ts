/** What a call says of its caller: `Basic <base64 of user:password>`, `Bearer user:password`, or `user:password` alone. */

export interface Credentials {
  userName: string;
  password: string;
}

/** Undefined when it names no user with a password. The part before the first colon is the user. */
export function readCredentials(authorization: string | undefined): Credentials | undefined {
  if (authorization === undefined) return undefined;
  const space = authorization.indexOf(" ");
  const scheme = space < 0 ? "" : authorization.slice(0, space).toLowerCase();
  let text = authorization;
  if (scheme === "basic") text = Buffer.from(authorization.slice(space + 1), "base64").toString("utf8");
  else if (scheme === "bearer") text = authorization.slice(space + 1);
  const colon = text.indexOf(":");
  if (colon <= 0) return undefined;
  return { userName: text.slice(0, colon), password: text.slice(colon + 1) };
}
