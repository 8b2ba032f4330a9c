/** The common parts of commands that put an override in force. */
import { Flags } from "@oclif/core";
import type { OverrideKind, OverrideTarget } from "../model/override.js";
import { override } from "../operations/override/override.js";
import { parseDuration } from "../settings/types.js";
import { overrideDocument, renderOverride } from "../views/overrides.js";
import { systemClock, systemRandom } from "../wiring/host.js";
import { withStore } from "../wiring/store.js";
import { BaseCommand } from "./base.js";
import { operatorName } from "./confirm.js";

export const OVERRIDE_FLAGS = {
  for: Flags.string({
    description: "time after which it ends by itself: 30m, 4h; at most 168h",
    env: "ZTAP_FOR",
    helpValue: "TIME",
    required: true,
  }),
  reason: Flags.string({
    char: "m",
    aliases: ["message"],
    description: "reason, for the other operators",
    env: "ZTAP_REASON",
    helpValue: "TEXT",
    required: true,
  }),
};

interface OverrideFlags {
  readonly json: boolean;
  readonly for: string;
  readonly reason: string;
}

export abstract class OverrideCommand extends BaseCommand {
  protected async override(flags: OverrideFlags, kind: OverrideKind, target: OverrideTarget): Promise<void> {
    const settings = await this.settings({ ...flags, node: undefined });
    const forMs = parseDuration("--for", flags.for);
    const order = { kind, target, forMs, by: operatorName(), reason: flags.reason };
    const made = await withStore(settings, { create: "when-written" }, (store) =>
      override({ store, clock: systemClock, random: systemRandom }, order),
    );
    this.print(flags, overrideDocument(made), () => renderOverride(made, this.style));
  }
}
