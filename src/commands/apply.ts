import { Args } from "@oclif/core";
import { BaseCommand } from "../cli/base.js";
import { InvalidInput } from "../cli/exit.js";
import { confirm, operatorName } from "../cli/confirm.js";
import { settingFlags } from "../settings/flags.js";
import { requireWayIn } from "../cli/lockout.js";
import { isPlanFile, loadPlan } from "../cli/plan-file.js";
import { RISK_FLAGS } from "../cli/risks.js";
import { REF_FLAG } from "../cli/state-command.js";
import { REASON_FLAG } from "../cli/write-command.js";
import { readPlannedInstances } from "../operations/workload/planned.js";
import { applyPlan } from "../operations/change/apply.js";
import { readDesired } from "../operations/change/desired.js";
import { deletionNotices, suspensionNotices, unenforcedNotices } from "../operations/change/notices.js";
import { OperationError } from "../model/operation-error.js";
import { planConnectivity, planDesired, refuseEmpty, replan } from "../operations/change/plan.js";
import type { Planned } from "../operations/change/plan.js";
import type { Settings } from "../settings/settings.js";
import type { Store } from "../interfaces/store.js";
import { applyDocument, renderApplied } from "../views/apply.js";
import { renderPlan } from "../views/plan.js";
import { openSource } from "../wiring/source.js";
import { readBoundedManifests } from "../wiring/manifests.js";
import { systemClock, systemRandom } from "../wiring/host.js";
import { withStore } from "../wiring/store.js";

export default class Apply extends BaseCommand {
  static override summary = "Commit the desired state as one revision.";
  static override description =
    "Shows the plan and asks first. A saved plan whose base is no longer head is refused as stale.";
  static override examples = ["<%= config.bin %> apply", "<%= config.bin %> apply policies.plan --auto-approve"];
  static override args = {
    source: Args.string({
      ignoreStdin: true,
      description: "folder, Git URL or saved plan (default: this folder)",
      default: ".",
    }),
  };
  static override flags = {
    ...settingFlags("stateDir", "node", "source.path"),
    "allow-lockout": RISK_FLAGS["allow-lockout"],
    ref: REF_FLAG,
    "auto-approve": RISK_FLAGS["auto-approve"],
    "allow-empty": RISK_FLAGS["allow-empty"],
    override: RISK_FLAGS.override,
    reason: REASON_FLAG,
  };

  async run(): Promise<void> {
    const { args, flags } = await this.parse(Apply);
    const settings = await this.settings(flags);
    await this.noteMissingStore(settings, "a commit makes it");
    const [planned, noted, instances] = await withStore(settings, { create: false }, async (store) => {
      const made = await this.#plan(store, settings, args.source, flags.ref);
      const hasChanges = made.plan.changes.length > 0;
      const lockouts = hasChanges ? await requireWayIn(settings, flags, store, made.desired.objects) : [];
      const notices = await suspensionNotices(store);
      const found = await readPlannedInstances({ store, clock: systemClock }, made.plan, made.desired.objects);
      const all = [...lockouts, ...notices, ...deletionNotices(made, settings.source.maxDeletePercent)];
      return [made, all, found] as const;
    });
    const connectivity = planConnectivity(planned);
    const notices = [...noted, ...unenforcedNotices(connectivity)];
    const text = () => renderPlan(planned.plan, connectivity, this.style, instances);
    const hasChanges = planned.plan.changes.length > 0;
    if (!flags["allow-empty"]) refuseEmpty(planned, args.source);
    const mustAsk = hasChanges && !flags["auto-approve"];
    if (!flags.json) this.log(text());
    else if (mustAsk) this.logToStderr(text());
    this.showNotices(notices);
    if (mustAsk) await confirm("Commit this as a new revision?", "applied");
    const options = {
      author: operatorName(),
      node: settings.node,
      reason: flags.reason,
      override: flags.override,
    };
    // Opened only here, so that only a commit creates a store; the commit fails if head has moved since the plan.
    const revision = hasChanges
      ? await withStore(settings, { create: true }, (store) =>
          applyPlan({ store, clock: systemClock, random: systemRandom }, planned, options),
        )
      : null;
    const document = { ...applyDocument(planned.plan, connectivity, revision, instances), notices };
    this.print(flags, document, () => renderApplied(revision, this.style));
  }

  async #plan(store: Store, settings: Settings, location: string, ref: string | undefined): Promise<Planned> {
    if (await isPlanFile(location)) {
      if (ref !== undefined) throw new OperationError("usage", "--ref does not go with a saved plan");
      return replan(store, await loadPlan(location, readBoundedManifests));
    }
    const source = await openSource(settings, { location, ref });
    const { desired, diagnostics, files } = await readDesired(source, readBoundedManifests);
    this.showDiagnostics(diagnostics, files);
    if (desired === null) throw new InvalidInput(diagnostics);
    return planDesired(store, desired);
  }
}
