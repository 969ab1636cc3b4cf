/** Settings that say where to listen. */
import { VdbError } from "./errors.ts";

/** HOST:PORT, an IPv6 address in brackets. @throws VdbError invalid_parameter that names the setting */
export function listenAddress(setting: string, text: string): { host: string; port: number } {
  const colon = text.lastIndexOf(":");
  const port = Number(text.slice(colon + 1));
  const host = text.slice(0, Math.max(0, colon)).replace(/^\[|\]$/g, "");
  if (colon < 0 || host === "" || text.endsWith(":") || !Number.isInteger(port) || port < 0 || port > 65_535) {
    throw new VdbError("invalid_parameter", `${setting} must be HOST:PORT, got ${JSON.stringify(text)}`);
  }
  return { host, port };
}

/** The other way round. */
export function hostAndPort(host: string, port: number): string {
  return host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
}
