import { Flags } from "@oclif/core";
import { BaseCommand } from "../../cli/base.js";
import { confirm, operatorName } from "../../cli/confirm.js";
import { InvalidInput } from "../../cli/exit.js";
import { requireWayIn } from "../../cli/lockout.js";
import { RISK_FLAGS } from "../../cli/risks.js";
import { REASON_FLAG } from "../../cli/write-command.js";
import { unenforcedNotices, type Notice } from "../../operations/change/notices.js";
import { planConnectivity } from "../../operations/change/plan.js";
import { stalePlan } from "../../operations/change/stale.js";
import { commitUndo, planUndo } from "../../operations/rollout/undo.js";
import { settingFlags } from "../../settings/flags.js";
import { renderPlan } from "../../views/plan.js";
import { renderUndo, renderUndone, undoDocument } from "../../views/rollout.js";
import { systemClock, systemRandom } from "../../wiring/host.js";
import { readBoundedManifests } from "../../wiring/manifests.js";
import { withStore } from "../../wiring/store.js";

export default class RolloutUndo extends BaseCommand {
  static override summary = "Restore the whole state of the revision before, and suspend the source.";
  static override description =
    "The command for an incident, also in the middle of a rollout: all nodes at once get one new revision with the state of the last one before head that every node had, and in the same transaction the source is suspended, " +
    "so that no leader commits Git's state over it until `ztap rollout resume`. Needs the store alone, neither the repository nor a leader. " +
    "Shows the plan and asks first.";
  static override examples = [
    "<%= config.bin %> rollout undo --reason 'incident 42'",
    "<%= config.bin %> rollout undo --to 17 --auto-approve",
  ];
  static override flags = {
    to: Flags.integer({
      description:
        "the revision to restore, as `policy history` lists it (default: the last one before head that every node had)",
      env: "ZTAP_TO",
      helpValue: "REVISION",
      min: 1,
    }),
    ...settingFlags("stateDir", "node"),
    "allow-lockout": RISK_FLAGS["allow-lockout"],
    "auto-approve": RISK_FLAGS["auto-approve"],
    reason: REASON_FLAG,
  };

  async run(): Promise<void> {
    const { flags } = await this.parse(RolloutUndo);
    const settings = await this.settings(flags);
    await withStore(settings, { create: "when-written" }, async (store) => {
      const undo = await planUndo(store, flags.to ?? null);
      const show = (text: string): void => (flags.json ? this.logToStderr(text) : this.log(text));
      show(`${renderUndo(undo, this.style)}\n`);
      if (!flags["auto-approve"]) {
        const connectivity = planConnectivity(undo.planned);
        show(renderPlan(undo.planned.plan, connectivity, this.style));
        this.showNotices(unenforcedNotices(connectivity));
        await confirm("Restore this state, and suspend the source?", "undone");
        const head = await store.readHead();
        // Somebody may have mended it, while this waited for the answer.
        if (head !== undo.planned.plan.base) throw stalePlan(undo.planned.plan.base, head);
      }
      let lockouts: readonly Notice[] = [];
      const deps = {
        store,
        clock: systemClock,
        random: systemRandom,
        read: readBoundedManifests,
        requireWayIn: async (objects: Parameters<typeof requireWayIn>[3]): Promise<void> => {
          lockouts = await requireWayIn(settings, flags, store, objects);
        },
      };
      const request = { author: operatorName(), node: settings.node, reason: flags.reason };
      const result = await commitUndo(deps, undo, request);
      if (result.outcome === "invalid") {
        this.showDiagnostics(result.diagnostics, []);
        throw new InvalidInput(result.diagnostics);
      }
      this.showNotices(lockouts);
      this.print(flags, undoDocument(undo, result), () => renderUndone(undo, result, this.style));
    });
  }
}
