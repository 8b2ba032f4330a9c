/**
 * Wakes the follower on changes of head and, of what nodes report, on those alone that concern this node; and the leader
 * where a node asks for a poll.
 */
import { Notifier } from "../interfaces/notifier.js";
import type { Store } from "../interfaces/store.js";
import type { Follower } from "./follower.js";
import { forwardEvents, runLoop, type LoopOptions } from "./loop.js";

/**
 * Runs until the signal aborts.
 * @param onChange is called on a change that does not concern the ruleset of this node
 */
export async function watchStore(
  store: Pick<Store, "watch">,
  follower: Pick<Follower, "isOutdated">,
  notifiers: { readonly follower: Notifier; readonly polls: Notifier },
  onChange: () => void,
  loop: Omit<LoopOptions, "name" | "jitter">,
): Promise<void> {
  const endpoints = new Notifier();
  await Promise.all([
    runLoop({ ...loop, name: "endpoints", jitter: 0.1 }, endpoints, async () => {
      if (await follower.isOutdated()) notifiers.follower.notify();
      else onChange();
    }),
    // Not the status: every node writes its own after each commit, and a follower needs none of these events.
    forwardEvents(
      (watching) => store.watch(watching, ["head", "endpoints", "polls", "overrides"]),
      ({ changed }) => [
        changed === "endpoints" ? endpoints : changed === "polls" ? notifiers.polls : notifiers.follower,
      ],
      loop,
    ),
  ]);
}
