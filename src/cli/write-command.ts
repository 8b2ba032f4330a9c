/** The common parts of commands that write one policy: author, reason, and the output of the result. */
import { Flags } from "@oclif/core";
import { suspensionNotices, type Notice } from "../operations/change/notices.js";
import type { PolicyWritten, WriteDeps, Writer } from "../operations/policy/write.js";
import type { Settings } from "../settings/settings.js";
import type { SourceFile } from "../interfaces/source.js";
import type { Store } from "../interfaces/store.js";
import { policyWriteDocument, renderPolicyWritten } from "../views/policies.js";
import { describeWriter, readBootId, systemClock, systemRandom } from "../wiring/host.js";
import { readBoundedManifests } from "../wiring/manifests.js";
import { withStore } from "../wiring/store.js";
import { BaseCommand } from "./base.js";
import { operatorName } from "./confirm.js";
import { InvalidInput } from "./exit.js";
import { settingFlags } from "../settings/flags.js";
import { requireWayIn } from "./lockout.js";
import { RISK_FLAGS } from "./risks.js";

/** The flag for the reason. `--message` is git's name for it. */
export const REASON_FLAG = Flags.string({
  char: "m",
  aliases: ["message"],
  description: "why, for the revision's record",
  env: "ZTAP_REASON",
  helpValue: "TEXT",
  default: "",
});

export const WRITE_FLAGS = {
  ...settingFlags("node"),
  "allow-lockout": RISK_FLAGS["allow-lockout"],
  override: RISK_FLAGS.override,
  reason: REASON_FLAG,
};

interface WriteFlags {
  readonly json: boolean;
  readonly "allow-lockout": boolean;
  readonly override: boolean;
  readonly reason: string;
}

export abstract class WriteCommand extends BaseCommand {
  /**
   * Writes the policy.
   * @throws InvalidInput if the policy, or the resulting state, does not validate
   */
  protected async write(
    settings: Settings,
    flags: WriteFlags,
    files: readonly SourceFile[],
    write: (deps: WriteDeps, writer: Writer) => Promise<PolicyWritten>,
  ): Promise<void> {
    const writer = {
      node: settings.node,
      holder: await describeWriter(),
      boot: await readBootId(),
      author: operatorName(),
      reason: flags.reason,
      override: flags.override,
    };
    const [written, notices] = await withStore(settings, { create: "when-written" }, async (store: Store) => {
      const deps = { store, clock: systemClock, random: systemRandom, read: readBoundedManifests };
      let lockouts: readonly Notice[] = [];
      const done = await write(
        {
          ...deps,
          requireWayIn: async (objects) => void (lockouts = await requireWayIn(settings, flags, store, objects)),
        },
        writer,
      );
      return [done, [...lockouts, ...(await suspensionNotices(store))]] as const;
    });
    if (written.outcome === "invalid") {
      this.showDiagnostics(written.diagnostics, files);
      throw new InvalidInput(written.diagnostics);
    }
    if (written.outcome === "committed") this.showDiagnostics(written.warnings, files);
    this.showNotices(notices);
    this.print(flags, { ...policyWriteDocument(written), notices }, () => renderPolicyWritten(written, this.style));
  }
}
