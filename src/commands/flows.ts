import { Flags } from "@oclif/core";
import { BaseCommand } from "../cli/base.js";
import { inNamespace, NAMESPACE_FILTER, OUTPUT_FLAGS } from "../cli/output.js";
import { settingFlags } from "../settings/flags.js";
import { untilSignal } from "../cli/signals.js";
import { printableJson } from "../model/printable.js";
import { isOfNamespace, SHADOW_VERDICTS } from "../model/flow.js";
import { readFlowQuery } from "../operations/query/flow-filter.js";
import { describeNoFlows, renderFlow, renderFlowHead } from "../views/flows.js";
import { chooseFlowNode, followFlows } from "../wiring/flows.js";

export default class FlowsCommand extends BaseCommand {
  static override summary =
    "Show recent decisions of this machine's agent: denied, audited, and new allowed flows. Needs root.";
  static override description =
    "Prints the events that the agent has stored; with --follow also new ones, until Ctrl-C. With --json, one event a line; with -o yaml, one document each. Lines that begin with dots give the number of missing events, and the reason.";
  static override examples = [
    "<%= config.bin %> flows --verdict denied",
    "<%= config.bin %> flows --follow --workload shop/db --direction ingress",
  ];
  static override flags = {
    follow: Flags.boolean({ char: "f", description: "continue with new events", env: "ZTAP_FOLLOW", default: false }),
    verdict: Flags.option({ options: ["allowed", "denied", "audited", ...SHADOW_VERDICTS] as const })({
      description:
        "only flows with this verdict; would-deny, would-allow: those that the revision which the node waits for decides otherwise",
      env: "ZTAP_VERDICT",
    }),
    workload: Flags.string({
      description: "only flows of this workload: NAMESPACE/NAME, or NAME in the namespace default",
      env: "ZTAP_WORKLOAD",
      helpValue: "NAME",
    }),
    ...OUTPUT_FLAGS,
    ...NAMESPACE_FILTER,
    direction: Flags.option({ options: ["ingress", "egress"] as const })({
      description: "only flows in this direction, seen from the workload",
      env: "ZTAP_DIRECTION",
    }),
    ...settingFlags("node", "stateDir"),
  };

  async run(): Promise<void> {
    const { flags } = await this.parse(FlowsCommand);
    const settings = await this.settings(flags);
    const { workload, namespace } = flags;
    const isDocument = flags.output === "json" || flags.output === "yaml";
    const query = readFlowQuery({
      ...flags,
      workload: workload === undefined ? undefined : inNamespace(workload, namespace, this.isTyped("namespace")),
    });
    await untilSignal(async (signal) => {
      const node = await chooseFlowNode(settings);
      if (node !== settings.node)
        this.logToStderr(
          this.style.line`no agent of node ${settings.node} runs here; these are the flows of node ${node}`,
        );
      const messages = await followFlows(settings, node, query, signal);
      let isFirst = true;
      for await (const message of messages) {
        if (!isOfNamespace(message, namespace)) continue;
        const document = { formatVersion: 1, ...message };
        if (flags.output === "json") this.log(printableJson(document));
        else if (flags.output === "yaml") await this.printYaml(document);
        else
          this.log(
            [isFirst ? renderFlowHead(this.style) : null, renderFlow(message, this.style)].filter(isText).join("\n"),
          );
        isFirst = false;
      }
      if (isFirst && !isDocument && !signal.aborted) this.log(describeNoFlows(query, this.style));
    });
  }
}

const isText = (text: string | null): text is string => text !== null;
