/** Requests of one kind that a node sends, whose answers do not come: for tests of those who ask, and of who goes on for them. */
import type { Bus } from "../bus/bus.ts";
import { VdbError } from "../errors.ts";

export interface LostAnswers {
  /** How many have been asked for. */
  asked(): number;
  /** Those who wait hear that nobody is there, as when the connection ends. */
  giveUp(): void;
}

/** What is asked from now on is done by whom it is asked of; who asks waits for the answer until `giveUp`. */
export function loseAnswers(bus: Bus, operation: { subject: string }): LostAnswers {
  let asked = 0;
  let giveUp = () => {};
  const givenUp = new Promise<void>((resolve) => {
    giveUp = resolve;
  });
  const ask = bus.ask.bind(bus);
  bus.ask = async (...request) => {
    if (request[0].subject !== operation.subject) return ask(...request);
    asked++;
    ask(...request).catch(() => undefined);
    await givenUp;
    throw new VdbError("node_not_found", "the answer was lost");
  };
  return { asked: () => asked, giveUp };
}
