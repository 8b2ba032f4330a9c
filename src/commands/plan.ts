import { Args, Flags } from "@oclif/core";
import { EXIT, InvalidInput } from "../cli/exit.js";
import { settingFlags } from "../settings/flags.js";
import { requireWayIn } from "../cli/lockout.js";
import { savePlan } from "../cli/plan-file.js";
import { RISK_FLAGS } from "../cli/risks.js";
import { BASE_FLAGS, REF_FLAG, StateCommand } from "../cli/state-command.js";
import { planAgainstBase } from "../operations/change/against.js";
import { deletionNotices, suspensionNotices, unenforcedNotices, type Notice } from "../operations/change/notices.js";
import { OperationError } from "../model/operation-error.js";
import { planConnectivity, planDesired, refuseEmpty, type Planned } from "../operations/change/plan.js";
import { readPlannedInstances, type PlannedInstances } from "../operations/workload/planned.js";
import { planDocument, renderPlan, renderPlanSummary } from "../views/plan.js";
import { renderNoPlanMarkdown, renderPlanMarkdown } from "../views/plan-markdown.js";
import { systemClock } from "../wiring/host.js";
import { withStore } from "../wiring/store.js";

export default class PlanCommand extends StateCommand {
  static override summary = "Show what would change: objects and connections, the desired state against head.";
  static override description =
    "Reads a folder's work tree, or with --ref (and for a URL) a commit, and changes nothing. " +
    "With --against it needs no store: the base is the commit where the desired state branched off from REF, " +
    "so that later commits of REF do not count (`git diff REF...COMMIT`).";
  static override examples = [
    "<%= config.bin %> plan",
    "<%= config.bin %> plan https://git.example.com/net.git --ref main --detailed-exitcode",
    "<%= config.bin %> plan --against origin/main --format markdown",
    "<%= config.bin %> plan --summary",
  ];
  static override aliases = ["diff"];
  static override args = {
    source: Args.string({ ignoreStdin: true, description: "folder or Git URL (default: this folder)", default: "." }),
  };
  static override flags = {
    ...settingFlags("stateDir", "node", "source.path"),
    "allow-lockout": RISK_FLAGS["allow-lockout"],
    ref: REF_FLAG,
    ...BASE_FLAGS,
    "allow-empty": RISK_FLAGS["allow-empty"],
    out: Flags.string({ description: "save the plan, for `apply FILE`", env: "ZTAP_OUT", helpValue: "FILE" }),
    format: Flags.option({ options: ["text", "json", "markdown"] as const })({
      description: "output format",
      env: "ZTAP_PLAN_FORMAT",
      default: "text",
    }),
    summary: Flags.boolean({
      description: "only the number of changed objects of each kind and namespace, and of connections",
      env: "ZTAP_SUMMARY",
    }),
    "detailed-exitcode": Flags.boolean({
      description: "exit 2 if there are changes",
      env: "ZTAP_DETAILED_EXITCODE",
    }),
  };

  async run(): Promise<void> {
    const { args, flags } = await this.parse(PlanCommand);
    if (flags.against !== undefined && flags.out !== undefined) {
      throw new OperationError(
        "usage",
        "--out does not go with --against: a plan against a commit belongs to no store, and cannot be applied",
      );
    }
    if (flags.json && flags.format === "markdown")
      throw new OperationError("usage", "--json does not go with --format markdown; give one of them");
    const format = flags.json ? "json" : flags.format;
    if (flags.summary && format !== "text")
      throw new OperationError("usage", `--summary does not go with ${format}, which has its own summary`);
    const {
      planned,
      notices: noted,
      instances,
    } = await this.#planMeant(args.source, flags).catch((error: unknown) => {
      // A tool that updates a comment takes the plan from stdout, and the old one would be wrong.
      if (format === "markdown") this.log(renderNoPlanMarkdown(args.source, inMarkdown(error)));
      throw error;
    });
    const connectivity = planConnectivity(planned);
    const notices = [...noted, ...unenforcedNotices(connectivity)];
    this.showNotices(notices);
    if (flags.out !== undefined) await savePlan(flags.out, planned);
    const { plan } = planned;
    this.print({ json: format === "json" }, { ...planDocument(plan, connectivity, instances), notices }, () => {
      if (format === "markdown") return renderPlanMarkdown(plan, connectivity, args.source, instances ?? []);
      if (flags.summary) return renderPlanSummary(plan, connectivity, this.style);
      return renderPlan(plan, connectivity, this.style, instances ?? []);
    });
    if (flags["detailed-exitcode"] && planned.plan.changes.length > 0) process.exitCode = EXIT.changes;
  }

  async #planMeant(location: string, flags: Choice & { readonly "allow-empty": boolean }): Promise<Noted> {
    const noted = await this.#plan(location, flags);
    if (!flags["allow-empty"]) refuseEmpty(noted.planned, location);
    return noted;
  }

  async #plan(location: string, flags: Choice): Promise<Noted> {
    const desired = await this.readState(location, flags);
    const settings = await this.settings(flags);
    const { against, exact } = flags;
    if (against !== undefined) {
      const base = await this.readBaseState(location, desired, { ref: against, exact }, flags);
      const planned = planAgainstBase(desired, base);
      return { planned, notices: deletionNotices(planned, settings.source.maxDeletePercent), instances: null };
    }
    await this.noteMissingStore(settings, "everything is new");
    return withStore(settings, { create: false }, async (store) => {
      const planned = await planDesired(store, desired);
      const hasChanges = planned.plan.changes.length > 0;
      const lockouts = hasChanges ? await requireWayIn(settings, flags, store, planned.desired.objects) : [];
      const suspended = await suspensionNotices(store);
      return {
        planned,
        instances: await readPlannedInstances({ store, clock: systemClock }, planned.plan, desired.objects),
        notices: [...lockouts, ...suspended, ...deletionNotices(planned, settings.source.maxDeletePercent)],
      };
    });
  }
}

interface Noted {
  readonly planned: Planned;
  readonly notices: readonly Notice[];
  /** Null without a store. */
  readonly instances: readonly PlannedInstances[] | null;
}

interface Choice extends Readonly<Record<string, unknown>> {
  readonly ref: string | undefined;
  readonly against: string | undefined;
  readonly exact: boolean;
  readonly "allow-lockout": boolean;
}

function inMarkdown(error: unknown): Parameters<typeof renderNoPlanMarkdown>[1] {
  const message = error instanceof Error ? error.message : String(error);
  return { message, diagnostics: error instanceof InvalidInput ? error.diagnostics : [] };
}
