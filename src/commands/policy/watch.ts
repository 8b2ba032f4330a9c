import { BaseCommand } from "../../cli/base.js";
import { NAMESPACE_FILTER } from "../../cli/output.js";
import { untilSignal } from "../../cli/signals.js";
import { printableJson } from "../../model/printable.js";
import { watchPolicies } from "../../operations/policy/watch.js";
import { renderPolicyEvent } from "../../views/policies.js";
import { withStore } from "../../wiring/store.js";

export default class PolicyWatch extends BaseCommand {
  static override summary = "Show the policies, then every change as it is committed; ends with Ctrl-C.";
  static override description = "With --json, one event a line.";
  static override flags = NAMESPACE_FILTER;

  async run(): Promise<void> {
    const { flags } = await this.parse(PolicyWatch);
    const settings = await this.settings(flags);
    await this.noteMissingStore(settings, "waiting for it");
    await withStore(settings, { create: false }, (store) =>
      untilSignal(async (signal) => {
        for await (const event of watchPolicies(store, signal)) {
          if (flags.namespace !== undefined && event.namespace !== flags.namespace) continue;
          this.log(flags.json ? printableJson({ formatVersion: 1, ...event }) : renderPolicyEvent(event, this.style));
        }
      }),
    );
  }
}
