/** Calls of Milvus's service by the published definitions: also those that no SDK sends. */
import {
  type ChannelCredentials,
  Client,
  type ClientOptions,
  type ClientUnaryCall,
  credentials,
  Metadata,
  type ServiceError,
} from "@grpc/grpc-js";
import {
  decodeMessage,
  encodeMessage,
  type GrpcMethod,
  loadDefinitions,
  type Message,
} from "../../actors/proxy/grpc/definitions.ts";

export const METHODS: readonly GrpcMethod[] = loadDefinitions().methods;

/** Long enough for a loaded machine: that nothing hangs. */
const DEADLINE_MS = 60_000;

export class GrpcCaller {
  readonly #client: Client;
  readonly #running = new Set<ClientUnaryCall>();

  constructor(address: string, creds: ChannelCredentials = credentials.createInsecure(), options: ClientOptions = {}) {
    this.#client = new Client(address, creds, options);
  }

  /** @throws ServiceError when the call itself ends with an error, not when its reply says so */
  call(name: string, request: object = {}, headers: Record<string, string> = {}): Promise<Message> {
    const method = METHODS.find((each) => each.name === name)!;
    const metadata = new Metadata();
    for (const [key, value] of Object.entries(headers)) metadata.set(key, value);
    return new Promise((resolve, reject) => {
      const running = this.#client.makeUnaryRequest(
        method.path,
        (message: object) => encodeMessage(method.request, message),
        (bytes: Buffer) => decodeMessage(method.reply, bytes),
        request,
        metadata,
        { deadline: Date.now() + DEADLINE_MS },
        (error: ServiceError | null, reply?: Message) => {
          this.#running.delete(running);
          if (error === null) resolve(reply!);
          else reject(error);
        },
      );
      this.#running.add(running);
    });
  }

  /** Opens a stream of the service; resolves with the error that ends it. */
  stream(name: string): Promise<ServiceError> {
    const { path } = METHODS.find((each) => each.name === name)!;
    const asIs = (bytes: Buffer) => bytes;
    const stream = this.#client.makeBidiStreamRequest(path, asIs, asIs, { deadline: Date.now() + DEADLINE_MS });
    stream.on("data", () => undefined);
    stream.end(Buffer.alloc(0));
    return new Promise((resolve) => stream.on("error", (error) => resolve(error as ServiceError)));
  }

  /** Calls off what runs. */
  close(): void {
    for (const running of this.#running) running.cancel();
    this.#client.close();
  }
}

/** The Status of a reply: itself, or its part. */
export function statusIn(reply: Message): { code: number; errorCode: string; reason: string } {
  return (reply.status ?? reply) as { code: number; errorCode: string; reason: string };
}
