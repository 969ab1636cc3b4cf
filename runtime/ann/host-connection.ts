/**
 * The engine's end of one host process: starts it, loads indexes, sends searches, and reports when and how it ended. What to do
 * then is up to the engine. A connection that has ended answers nothing more.
 */
import type { ChildProcess } from "node:child_process";
import type { Duplex } from "node:stream";
import { describeExit, FIRST_PIPE_FD, forkModule, stderrTail } from "../child-process.ts";
import { VdbError } from "../errors.ts";
import { nativeThreadsEnv } from "./build-index.ts";
import {
  FrameReader,
  type HostNotice,
  type HostRequest,
  type LoadMessage,
  type ReplyFrame,
  readReplyFrame,
} from "./host-protocol.ts";

export interface HostOptions {
  threads: number;
  scratchDir: string;
  onReply: (reply: ReplyFrame) => void;
  /** Called once, after the last reply. */
  onEnd: (how: string) => void;
}

/** The host died before it answered; whether the index had a part in it is not known. */
export class HostEndedError extends Error {}

interface Waiter {
  resolve: () => void;
  reject: (error: Error) => void;
}

export class HostConnection {
  readonly #child: ChildProcess;
  readonly #pipe: Duplex;
  readonly #loads = new Map<number, Waiter>();
  #starting: Waiter | undefined;
  #ended: string | undefined;
  readonly #onEnd: HostOptions["onEnd"];
  /** Resolves when the process is up; rejects with HostEndedError. */
  readonly ready: Promise<void>;
  /** Resolves when the process is gone and `onEnd` has been called. */
  readonly closed: Promise<void>;
  /** As of the last reply. */
  growthMiB = 0;

  constructor(options: HostOptions) {
    this.#onEnd = options.onEnd;
    this.ready = new Promise((resolve, reject) => {
      this.#starting = { resolve, reject };
    });
    this.#child = forkModule(new URL("./faiss-host.ts", import.meta.url), {
      args: [options.scratchDir],
      env: nativeThreadsEnv(options.threads),
      execArgv: ["--expose-gc"],
      pipes: 1,
    });
    this.#pipe = this.#child.stdio[FIRST_PIPE_FD] as Duplex;
    this.#receive(options.onReply);
    const stderr = stderrTail(this.#child);
    this.#child.on("message", (notice: HostNotice) => this.#notice(notice));
    this.closed = new Promise((resolve) => {
      const end = (how: string) => {
        this.#end(how);
        resolve();
      };
      // close, not exit: by then every reply and the whole of stderr have been read.
      this.#child.once("close", (code, signal) => end(describeExit(code, signal, stderr())));
      this.#child.once("error", (error) => end(error.message));
    });
  }

  get pid(): number | null {
    return this.#child.pid ?? null;
  }

  get hasEnded(): boolean {
    return this.#ended !== undefined;
  }

  /** @throws VdbError corrupt when FAISS refuses the file; HostEndedError */
  load(message: LoadMessage): Promise<void> {
    if (this.#ended !== undefined) return Promise.reject(new HostEndedError(this.#ended));
    return new Promise((resolve, reject) => {
      this.#loads.set(message.number, { resolve, reject });
      this.#post(message);
    });
  }

  unload(number: number): void {
    if (this.#ended === undefined) this.#post({ kind: "unload", number });
  }

  send(frames: readonly Uint8Array[]): void {
    if (this.#ended === undefined) this.#pipe.write(frames.length === 1 ? frames[0] : Buffer.concat(frames));
  }

  kill(): void {
    this.#child.kill("SIGKILL");
  }

  #post(request: HostRequest): void {
    // A failed send means that the process is ending: close reports it.
    this.#child.send(request, () => {});
  }

  #receive(onReply: HostOptions["onReply"]): void {
    const reader = new FrameReader();
    this.#pipe.on("data", (chunk: Buffer) => {
      for (const frame of reader.push(chunk)) {
        const reply = readReplyFrame(frame);
        this.growthMiB = reply.growthMiB;
        onReply(reply);
      }
    });
    // EPIPE, ECONNRESET: the process is ending, and close reports it.
    this.#pipe.on("error", () => {});
  }

  #notice(notice: HostNotice): void {
    if (notice.kind === "ready") {
      this.#starting?.resolve();
      return;
    }
    const waiter = this.#loads.get(notice.number);
    this.#loads.delete(notice.number);
    if (notice.kind === "loaded") waiter?.resolve();
    else waiter?.reject(new VdbError("corrupt", `index file is refused by FAISS: ${notice.message}`));
  }

  #end(how: string): void {
    if (this.#ended !== undefined) return;
    this.#ended = how;
    const error = new HostEndedError(`search host ${how}`);
    this.#starting?.reject(error);
    for (const waiter of this.#loads.values()) waiter.reject(error);
    this.#loads.clear();
    this.#onEnd(how);
  }
}
