import { Args } from "@oclif/core";
import { BaseCommand } from "../cli/base.js";
import { EXIT } from "../cli/exit.js";
import { readTypedFlags } from "../cli/typed-flags.js";
import { listKnownNames } from "../operations/query/known-names.js";
import { NAME_KINDS, type NameKind } from "../views/completion/model.js";
import { loadSettings } from "../wiring/settings.js";
import { systemClock } from "../wiring/host.js";
import { withStore } from "../wiring/store.js";

/** A key was pressed: after this time no answer is better than a late one. */
const LIMIT_MS = 1500;

/** For the scripts of `ztap completion`. It prints nothing else: its output stands in the command line. */
export default class Complete extends BaseCommand {
  static override hidden = true;
  static override summary = "Print the names that the store has, one a line.";
  static override strict = false;
  static override args = {
    kind: Args.string({ ignoreStdin: true, description: NAME_KINDS.join(", "), options: [...NAME_KINDS] }),
  };

  async run(): Promise<void> {
    process.exitCode = EXIT.failed;
    const names = await Promise.race([this.#names().catch(() => null), systemClock.sleep(LIMIT_MS).then(() => null)]);
    if (names === null) return;
    process.exitCode = EXIT.done;
    if (names.length > 0) this.log(names.join("\n"));
  }

  async #names(): Promise<readonly string[]> {
    const [wanted, ...words] = this.argv;
    const kind = NAME_KINDS.find((one): one is NameKind => one === wanted);
    if (kind === undefined) return [];
    const { config, namespace, ...flags } = readTypedFlags(words, process.env["HOME"]);
    const settings = await loadSettings({ config: config ?? process.env["ZTAP_CONFIG"], flags });
    return withStore(settings, { create: false }, (store) => listKnownNames(store, kind, namespace ?? null));
  }
}
