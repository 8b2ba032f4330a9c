import { Args, Flags } from "@oclif/core";
import { BaseCommand } from "../cli/base.js";
import { EXIT, InvalidInput } from "../cli/exit.js";
import { SETTING_FLAGS } from "../cli/flags.js";
import { requireWayIn } from "../cli/lockout.js";
import { savePlan } from "../cli/plan-file.js";
import { deletionNotices, suspensionNotices } from "../operations/notices.js";
import { readDesired } from "../operations/desired.js";
import { planConnectivity, planDesired } from "../operations/plan.js";
import { planDocument, renderPlan, renderPlanMarkdown } from "../views/plan.js";
import { openSource, readManifests } from "../wiring.js";
import { withStore } from "../wiring-store.js";

export default class Plan extends BaseCommand {
  static override summary = "Show what would change: objects and connections, the desired state against head.";
  static override description =
    "Reads a folder's work tree, or with --ref (and for a URL) a commit, and changes nothing.";
  static override examples = [
    "<%= config.bin %> plan",
    "<%= config.bin %> plan https://git.example.com/policies.git --ref main --detailed-exitcode",
  ];
  static override args = {
    source: Args.string({ ignoreStdin: true, description: "folder or Git URL (default: this folder)", default: "." }),
  };
  static override flags = {
    "state-dir": SETTING_FLAGS["state-dir"],
    node: SETTING_FLAGS.node,
    "allow-lockout": SETTING_FLAGS["allow-lockout"],
    ref: Flags.string({ description: "commit, branch or tag", env: "ZTAP_REF" }),
    "source-path": SETTING_FLAGS["source-path"],
    out: Flags.string({ description: "save the plan, for `apply FILE`", env: "ZTAP_OUT", helpValue: "FILE" }),
    format: Flags.option({ options: ["text", "json", "markdown"] as const })({
      description: "output format",
      env: "ZTAP_FORMAT",
      default: "text",
    }),
    "detailed-exitcode": Flags.boolean({
      description: "exit 2 where there are changes",
      env: "ZTAP_DETAILED_EXITCODE",
    }),
  };

  async run(): Promise<void> {
    const { args, flags } = await this.parse(Plan);
    const settings = await this.settings(flags);
    const source = await openSource(settings, { location: args.source, ref: flags.ref });
    const { desired, diagnostics, files } = await readDesired(source, readManifests);
    this.showDiagnostics(diagnostics, files);
    if (desired === null) throw new InvalidInput(diagnostics);
    const [planned, notices] = await withStore(settings, { create: false }, async (store) => {
      const made = await planDesired(store, desired);
      if (made.plan.changes.length > 0) await requireWayIn(settings, store, made.desired.objects);
      const notices = await suspensionNotices(store);
      return [made, [...notices, ...deletionNotices(made, settings.maxDeletePercent)]] as const;
    });
    this.showNotices(notices);
    if (flags.out !== undefined) await savePlan(flags.out, planned);
    const connectivity = planConnectivity(planned);
    const asJson = flags.json || flags.format === "json";
    this.print({ json: asJson }, { ...planDocument(planned.plan, connectivity), notices }, () =>
      flags.format === "markdown"
        ? renderPlanMarkdown(planned.plan, connectivity)
        : renderPlan(planned.plan, connectivity, this.style),
    );
    if (flags["detailed-exitcode"] && planned.plan.changes.length > 0) process.exitCode = EXIT.changes;
  }
}
