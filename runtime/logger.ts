/** Structured logs: JSON lines (on stderr, so that a command's own output stays clean), constant lowercase messages, data in fields. */
import { type Logger as PinoLogger, pino } from "pino";

export type Logger = PinoLogger;

export type LogLevel = "fatal" | "error" | "warn" | "info" | "debug" | "silent";

export function createLogger(options: { level: LogLevel; fields?: Record<string, unknown> }): Logger {
  const { level, fields = {} } = options;
  return pino(
    { level, base: fields, timestamp: pino.stdTimeFunctions.isoTime },
    pino.destination({ fd: 2, sync: true }),
  );
}
