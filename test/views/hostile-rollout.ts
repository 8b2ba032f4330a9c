/** The views of a rollout, each given one text in every field. */
import {
  renderAborted,
  renderPaused,
  renderPromoted,
  renderResumedAll,
  renderRolloutStatus,
} from "../../src/views/rollout-status.js";
import type { Style } from "../../src/views/style.js";

const rolloutStatus = (x: string, state: string) =>
  Object({
    head: 2,
    rollout: {
      ...{
        revision: 2,
        base: 1,
        commit: x,
        subject: x,
        author: x,
        state,
        wave: 0,
        waves: 2,
        since: x,
        by: x,
        message: x,
      },
      ...{ waitsUntil: x, freeze: { window: { from: x, to: x, timezone: x }, until: x } },
      gates: [{ gate: "stalled", limit: 0, value: 1, nodes: [x], reason: x, isExceeded: true, isWaived: true }],
      nodes: { total: 3, released: 2, enforced: 1 },
      compared: { nodes: 1, missing: [x], connections: 3 },
      differences: [
        { effect: "denied", direction: "ingress", policy: x, file: x, line: 1, count: 2, workloads: [x], nodes: [x] },
      ],
      behind: [
        { node: x, progress: "stalled", released: 2, wave: null, message: x },
        { node: x, progress: "waiting", released: 1, wave: 1, message: x },
      ],
    },
  });
const suspension = (x: string) => ({ by: x, reason: x, since: x, until: x });

export const ROLLOUT_VIEWS: Readonly<Record<string, (x: string, style: Style) => string>> = {
  renderRolloutStatus: (x, style) =>
    ["shadow", "failed"].map((state) => renderRolloutStatus(rolloutStatus(x, state), style)).join("\n"),
  renderPaused: (x, style) => renderPaused(Object({ revision: 2, message: x, by: x }), style),
  renderAborted: (x, style) => renderAborted(Object({ revision: 2, base: 1, by: x }), style),
  renderPromoted: (x, style) =>
    renderPromoted({ rollout: Object({ revision: 2, wave: 0 }), over: [x], isComplete: false }, style),
  renderResumedAll: (x, style) =>
    renderResumedAll(
      { suspension: suspension(x), rollout: Object({ revision: 2, wave: 0 }), failed: Object({ revision: 2 }) },
      style,
    ),
};
