/**
 * TLS of connections to NATS. A `tls://` URL, or a file given here, requires TLS: the server must have a trusted certificate of
 * its own, or there is no connection. Otherwise the server decides.
 *
 * Files are read again for each connection, so certificates can be renewed while the process runs.
 */
import { X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";
import { createSecureContext } from "node:tls";
import { errorMessage, VdbError } from "../errors.ts";

/** Paths of PEM files. */
export interface TlsFiles {
  /** Trusted authorities, instead of Node's. */
  caFile?: string;
  /** The client certificate for a server that asks for one, and its key: both or none. */
  certFile?: string;
  keyFile?: string;
}

/** For the npm client. `settings` are the names of the three, for errors. @throws VdbError invalid_parameter */
export function requiredTls(
  servers: readonly string[],
  files: TlsFiles,
  settings: Required<TlsFiles>,
): TlsFiles | undefined {
  const { caFile, certFile, keyFile } = files;
  if ((certFile === undefined) !== (keyFile === undefined)) {
    throw new VdbError("invalid_parameter", `${settings.certFile} and ${settings.keyFile} belong together`);
  }
  if (caFile !== undefined) tryFile(settings.caFile, () => new X509Certificate(readFileSync(caFile)));
  if (certFile !== undefined && keyFile !== undefined) {
    const cert = tryFile(settings.certFile, () => readFileSync(certFile));
    const key = tryFile(settings.keyFile, () => readFileSync(keyFile));
    tryFile(settings.certFile, () => createSecureContext({ cert }));
    tryFile(settings.keyFile, () => createSecureContext({ cert, key }));
  }
  const isAsked = [caFile, certFile].some((file) => file !== undefined);
  return isAsked || servers.some((server) => /^tls:/i.test(server)) ? files : undefined;
}

function tryFile<T>(setting: string, read: () => T): T {
  try {
    return read();
  } catch (error) {
    throw new VdbError("invalid_parameter", `${setting}: ${errorMessage(error)}`, { cause: error });
  }
}

/** OpenSSL's codes for a certificate without a trusted authority. */
const UNTRUSTED = [
  "DEPTH_ZERO_SELF_SIGNED_CERT",
  "SELF_SIGNED_CERT_IN_CHAIN",
  "UNABLE_TO_GET_ISSUER_CERT",
  "UNABLE_TO_GET_ISSUER_CERT_LOCALLY",
  "UNABLE_TO_VERIFY_LEAF_SIGNATURE",
  "CERT_SIGNATURE_FAILURE",
];

/** The error of a first connection, with a remedy if TLS is the cause. */
export function connectError(servers: readonly string[], error: unknown): VdbError {
  return new VdbError(
    "unavailable",
    `cannot connect to NATS at ${servers.join(",")}: ${errorMessage(error)}${hint(error)}`,
    {
      cause: error,
    },
  );
}

function hint(error: unknown): string {
  return UNTRUSTED.includes(String((error as { code?: unknown }).code))
    ? " (the authority of its certificate belongs into nats.tlsCaFile, or a client's tls.caFile)"
    : "";
}

/**
 * For a server that asks for a certificate. In TLS 1.3 it refuses after the client has begun to talk, and then its reason is
 * often lost with the connection.
 *
 * @throws VdbError unavailable
 */
export function requireCertificate(files: TlsFiles | null | undefined): void {
  if (files?.certFile !== undefined) return;
  throw new VdbError(
    "unavailable",
    "the server asks for a certificate (nats.tlsCertFile and nats.tlsKeyFile, or a client's tls.certFile and tls.keyFile)",
  );
}
