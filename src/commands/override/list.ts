import { ListCommand } from "../../cli/list-command.js";
import { LIST_FLAGS } from "../../cli/output.js";
import { listOverrides } from "../../operations/override/override.js";
import { overrideListDocument, overrideListing } from "../../views/overrides.js";
import { systemClock } from "../../wiring/host.js";

export default class OverrideList extends ListCommand {
  static override summary = "List the overrides in force, and the last that ended.";
  static override description = "Nodes are those that say that they have put it in force.";
  static override examples = ["<%= config.bin %> override list", "<%= config.bin %> override list -o json"];
  static override flags = LIST_FLAGS;

  async run(): Promise<void> {
    const { flags } = await this.parse(OverrideList);
    await this.list(await this.settings(flags), flags, {
      read: (store) => listOverrides({ store, clock: systemClock }),
      document: overrideListDocument,
      listing: (overrides, style) => overrideListing(overrides, style, systemClock.now()),
    });
  }
}
