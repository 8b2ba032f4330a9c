/** What commands share that ask something of a desired state, and need no store. */
import { Args, Flags } from "@oclif/core";
import type { DesiredState } from "../model/state.js";
import { readDesired } from "../operations/desired.js";
import { openSource, readManifests } from "../wiring.js";
import { BaseCommand } from "./base.js";
import { InvalidInput } from "./exit.js";
import { SETTING_FLAGS } from "./flags.js";

export const STATE_ARGS = {
  source: Args.string({ ignoreStdin: true, description: "folder or Git URL (default: this folder)", default: "." }),
};

export const STATE_FLAGS = {
  "state-dir": SETTING_FLAGS["state-dir"],
  ref: Flags.string({ description: "commit, branch or tag", env: "ZTAP_REF" }),
  "source-path": SETTING_FLAGS["source-path"],
};

export abstract class StateCommand extends BaseCommand {
  /** A folder's work tree, or with `ref` (and for a URL) a commit. @throws InvalidInput where it does not validate */
  protected async readState(
    location: string,
    flags: Readonly<Record<string, unknown>> & { readonly ref: string | undefined },
  ): Promise<DesiredState> {
    const source = await openSource(await this.settings(flags), { location, ref: flags.ref });
    const { desired, diagnostics, files } = await readDesired(source, readManifests);
    this.showDiagnostics(diagnostics, files);
    if (desired === null) throw new InvalidInput(diagnostics);
    return desired;
  }
}
