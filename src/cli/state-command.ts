/** The common parts of commands that read a desired state, and need no store. */
import { Args, Flags } from "@oclif/core";
import type { DesiredState } from "../model/state.js";
import { readBase, type Base, type BaseChoice } from "../operations/change/against.js";
import { readDesired } from "../operations/change/desired.js";
import { openBase, openSource } from "../wiring/source.js";
import { readBoundedManifests } from "../wiring/manifests.js";
import { BaseCommand } from "./base.js";
import { InvalidInput } from "./exit.js";
import { settingFlags } from "../settings/flags.js";
import { refusePlanFile } from "./plan-file.js";

export const STATE_ARGS = {
  source: Args.string({ ignoreStdin: true, description: "folder or Git URL (default: this folder)", default: "." }),
};

export const REF_FLAG = Flags.string({ description: "commit, branch or tag", env: "ZTAP_REF", helpValue: "REF" });

export const STATE_FLAGS = { ...settingFlags("stateDir", "source.path"), ref: REF_FLAG };

/** The flags that select the base of a comparison. */
export const BASE_FLAGS = {
  against: Flags.string({
    description: "compare with a branch, tag or commit of the same repository, and not with a store",
    env: "ZTAP_AGAINST",
    helpValue: "REF",
  }),
  exact: Flags.boolean({
    description: "with --against: compare with REF itself, not with the commit where the desired state branched off",
    env: "ZTAP_EXACT",
    dependsOn: ["against"],
  }),
};

export abstract class StateCommand extends BaseCommand {
  /**
   * Reads a folder's work tree, or with `ref` (and for a URL) a commit.
   * @throws InvalidInput if it does not validate
   */
  protected async readState(
    location: string,
    flags: Readonly<Record<string, unknown>> & { readonly ref: string | undefined },
  ): Promise<DesiredState> {
    await refusePlanFile(location);
    const source = await openSource(await this.settings(flags), { location, ref: flags.ref });
    const { desired, diagnostics, files } = await readDesired(source, readBoundedManifests);
    this.showDiagnostics(diagnostics, files);
    if (desired === null) throw new InvalidInput(diagnostics);
    return desired;
  }

  /** Reads the state at another commit of the same repository; if it only breaks its own tests, that is reported. */
  protected async readBaseState(
    location: string,
    desired: DesiredState,
    choice: BaseChoice,
    flags: Readonly<Record<string, unknown>>,
  ): Promise<Base> {
    const source = await openBase(await this.settings(flags), { location, ref: choice.ref });
    const base = await readBase(source, desired, choice, readBoundedManifests);
    if (base.errors.length > 0) {
      this.logToStderr(this.style.line`${choice.ref} does not validate itself; its objects could all be read:`);
      this.showDiagnostics(base.errors, base.files);
    }
    return base;
  }
}
