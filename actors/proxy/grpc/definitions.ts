/**
 * Milvus's published gRPC definitions, read from the package that its Node.js SDK brings them in: nothing of them is
 * retyped here. Loaded once a process, when its first proxy serves gRPC: about 0.1 s and 7 MB.
 *
 * A message is a plain object with camelCase names. Decoded: every field is there (an absent message is null), 64-bit
 * integers are decimal text, enums are their names, bytes are Buffers. To be encoded: fields may be left out, 64-bit
 * integers may be numbers or decimal text, enums names or numbers.
 */
import { createRequire } from "node:module";
import protobuf from "protobufjs/light.js";

export type Message = Record<string, unknown>;

export interface GrpcMethod {
  readonly name: string;
  /** As it stands in the request's `:path`. */
  readonly path: string;
  readonly request: protobuf.Type;
  readonly reply: protobuf.Type;
  readonly isRequestStream: boolean;
  readonly isReplyStream: boolean;
}

export interface Definitions {
  /** Those of milvus.proto.milvus.MilvusService. */
  readonly methods: readonly GrpcMethod[];
  /** @param name below milvus.proto, as in "schema.CollectionSchema" @throws Error when there is none */
  type(name: string): protobuf.Type;
  /** The values of an enum by name. @param name as for `type` */
  enumValues(name: string): Readonly<Record<string, number>>;
}

const PACKAGE = "milvus.proto";
const SERVICE = `${PACKAGE}.milvus.MilvusService`;
const SOURCE = "@zilliz/milvus2-sdk-node/dist/milvus/proto-json/milvus.base.js";

let loaded: Definitions | undefined;

export function loadDefinitions(): Definitions {
  loaded ??= load();
  return loaded;
}

function load(): Definitions {
  // As CommonJS: its type declarations alone are half a megabyte, and none of them is used.
  const source = createRequire(import.meta.url)(SOURCE) as { default: protobuf.INamespace };
  const root = protobuf.Root.fromJSON(source.default);
  const methods = root.lookupService(SERVICE).methodsArray.map((method): GrpcMethod => {
    method.resolve();
    return {
      name: method.name,
      path: `/${SERVICE}/${method.name}`,
      request: method.resolvedRequestType!,
      reply: method.resolvedResponseType!,
      isRequestStream: method.requestStream === true,
      isReplyStream: method.responseStream === true,
    };
  });
  return {
    methods,
    type: (name) => root.lookupType(`${PACKAGE}.${name}`),
    enumValues: (name) => root.lookupEnum(`${PACKAGE}.${name}`).values,
  };
}

/** @throws Error when the bytes are no such message */
export function decodeMessage<T = Message>(type: protobuf.Type, bytes: Uint8Array): T {
  return type.toObject(type.decode(bytes), { longs: String, enums: String, defaults: true, oneofs: true }) as T;
}

/** @throws Error when the object is no such message */
export function encodeMessage(type: protobuf.Type, message: object): Buffer {
  const bytes = type.encode(type.fromObject(message as Message)).finish();
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
