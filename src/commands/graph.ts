import { Flags } from "@oclif/core";
import { settingFlags } from "../settings/flags.js";
import { NAMESPACE_FILTER } from "../cli/output.js";
import { BASE_FLAGS, STATE_ARGS, STATE_FLAGS, StateCommand } from "../cli/state-command.js";
import type { DesiredState, ObjectSet } from "../model/state.js";
import { graphOf } from "../operations/query/graph.js";
import { planDesired } from "../operations/change/plan.js";
import { graphDocument } from "../views/graph/document.js";
import { renderDot } from "../views/graph/dot.js";
import { renderMermaid } from "../views/graph/mermaid.js";
import { layOutGraph } from "../wiring/graph.js";
import { withStore } from "../wiring/store.js";

export default class GraphCommand extends StateCommand {
  static override summary = "Draw the allowed connections, alone or with those that a change opens and closes.";
  static override description =
    "Workloads with the same connections are one node. With --against or --plan, connections that open are green, those that close red and dashed; REF is the same as for `plan`.";
  static override examples = [
    "<%= config.bin %> graph --format svg > policies.svg",
    "<%= config.bin %> graph --against main --format mermaid",
    "<%= config.bin %> graph --plan --namespace shop --format svg > plan.svg",
  ];
  // oclif's own text for flags that need or exclude each other is unreadable.
  static override usage =
    "graph [SOURCE] [--against REF [--exact] | --plan] [--format dot|mermaid|svg] [--namespace NAMESPACE]";
  static override args = STATE_ARGS;
  static override flags = {
    ...STATE_FLAGS,
    ...settingFlags("node"),
    format: Flags.option({ options: ["dot", "mermaid", "svg"] as const })({
      description: "output format",
      env: "ZTAP_GRAPH_FORMAT",
      default: "svg",
    }),
    ...BASE_FLAGS,
    plan: Flags.boolean({
      description: "compare with head in the store, as `plan` does",
      env: "ZTAP_PLAN",
      exclusive: ["against"],
    }),
    ...NAMESPACE_FILTER,
  };

  async run(): Promise<void> {
    const { args, flags } = await this.parse(GraphCommand);
    const desired = await this.readState(args.source, flags);
    const before = await this.#before(args.source, desired, flags);
    const graph = graphOf(desired.objects, { before, namespace: flags.namespace });
    const svg = flags.json || flags.format !== "svg" ? "" : await layOutGraph(renderDot(graph));
    const text = { svg: () => svg, dot: () => renderDot(graph), mermaid: () => renderMermaid(graph) }[flags.format];
    this.print(flags, graphDocument(desired.source, graph), text);
  }

  async #before(location: string, desired: DesiredState, flags: Comparison): Promise<ObjectSet | null> {
    const { against, exact, plan } = flags;
    if (against !== undefined)
      return (await this.readBaseState(location, desired, { ref: against, exact }, flags)).state.objects;
    if (!plan) return null;
    const settings = await this.settings(flags);
    await this.noteMissingStore(settings, "everything is new");
    const { base } = await withStore(settings, { create: false }, (store) => planDesired(store, desired));
    return base?.objects ?? new Map<string, never>();
  }
}

interface Comparison extends Readonly<Record<string, unknown>> {
  readonly against: string | undefined;
  readonly exact: boolean;
  readonly plan: boolean;
}
