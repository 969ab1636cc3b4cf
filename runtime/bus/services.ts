/**
 * The `$SRV` verbs of NATS's services protocol (ADR-32), so that `nats micro ls` and `nats micro stats` show the
 * cluster: one service a role, one instance a node. The npm package for it is a pre-release; the three verbs are this.
 */
import type { Served } from "./bus.ts";
import type { Transport, WireSubscription } from "./port.ts";

export interface ServiceInfo {
  /** `vdb-query`: letters, digits, _ and -. */
  name: string;
  /** The node. */
  id: string;
  version: string;
  description: string;
  startedAt: Date;
  endpoints: () => Iterable<Served>;
}

export function announceService(transport: Transport, service: ServiceInfo): Disposable {
  const identity = { name: service.name, id: service.id, version: service.version, metadata: {} };
  const answers = {
    PING: () => ({ type: "io.nats.micro.v1.ping_response", ...identity }),
    INFO: () => ({
      type: "io.nats.micro.v1.info_response",
      ...identity,
      description: service.description,
      endpoints: [...service.endpoints()].map(({ subject }) => ({
        name: endpointName(subject),
        subject,
        metadata: {},
      })),
    }),
    STATS: () => ({
      type: "io.nats.micro.v1.stats_response",
      ...identity,
      started: service.startedAt.toISOString(),
      endpoints: [...service.endpoints()].map(({ subject, stats }) => ({
        name: endpointName(subject),
        subject,
        num_requests: stats.requests,
        num_errors: stats.errors,
        last_error: stats.lastError,
        processing_time: Math.round(stats.processingMs * 1e6),
        average_processing_time: stats.requests === 0 ? 0 : Math.round((stats.processingMs * 1e6) / stats.requests),
      })),
    }),
  };
  const subscriptions: WireSubscription[] = [];
  for (const [verb, answer] of Object.entries(answers)) {
    for (const scope of ["", `.${service.name}`, `.${service.name}.${service.id}`]) {
      subscriptions.push(
        transport.subscribe(`$SRV.${verb}${scope}`, ({ reply }) => {
          if (reply !== undefined) transport.publish(reply, Buffer.from(JSON.stringify(answer())));
        }),
      );
    }
  }
  return {
    [Symbol.dispose]() {
      for (const subscription of subscriptions) subscription.unsubscribe();
    },
  };
}

/** Endpoint names allow fewer characters than subjects. */
function endpointName(subject: string): string {
  return subject.split(".").slice(1).join("-");
}
