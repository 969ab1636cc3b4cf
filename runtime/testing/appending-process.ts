/**
 * A log owner in a process of its own, to be frozen or killed by a test: appends one entry after the other, prints the
 * request id of each that was acknowledged, and at the end why it stopped.
 *
 * Arguments: the server's URL, the log's prefix, the term.
 */

import { isVdbError } from "../errors.ts";
import { createNatsLog } from "../log/nats-log.ts";
import { connectNats } from "../nats/connect.ts";
import { insertOf, noDeadline, openResumedWriter, timestampSource } from "./log-fixture.ts";

const [servers, prefix, term] = process.argv.slice(2) as [string, string, string];
const connections = await connectNats({ servers, name: `appender-${term}` });
const log = createNatsLog(connections, { prefix, replicas: 1, maxBytes: 1 << 30 });
const writer = await openResumedWriter({ log, term: Number(term), timestamps: timestampSource() });
try {
  for (let i = 0; ; i++) {
    await writer.append(insertOf(`${term}.${i}`), noDeadline());
    console.log(`${term}.${i}`);
  }
} catch {
  const reason = await writer.closed;
  console.log(`closed ${isVdbError(reason) ? reason.kind : reason.message}`);
}
await connections.close();
