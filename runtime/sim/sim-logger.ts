/** The log of a simulated node: kept out of the way, except for what must never be there. */
import type { Logger } from "../logger.ts";

export interface LogLine {
  level: string;
  node: string;
  message: string;
  fields: Record<string, unknown>;
}

const LEVELS = ["trace", "debug", "info", "warn", "error", "fatal"] as const;

/** @param isVerbose whether lines below `error` are wanted too: making them costs time */
export function createSimLogger(node: string, isVerbose: boolean, onLine: (line: LogLine) => void): Logger {
  const make = (bound: Record<string, unknown>): Record<string, unknown> => {
    const logger: Record<string, unknown> = {
      level: isVerbose ? "debug" : "error",
      child: (more: Record<string, unknown>) => (isVerbose ? make({ ...bound, ...more }) : logger),
    };
    LEVELS.forEach((level, i) => {
      logger[level] =
        i < 4 && !isVerbose
          ? () => undefined
          : (fields: Record<string, unknown> | string, message?: string) => {
              if (typeof fields === "string") onLine({ level, node, message: fields, fields: bound });
              else onLine({ level, node, message: message ?? "", fields: { ...bound, ...fields } });
            };
    });
    return logger;
  };
  return make({ node }) as unknown as Logger;
}
