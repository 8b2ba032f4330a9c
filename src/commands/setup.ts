import { Flags as flagOf } from "@oclif/core";
import { ask } from "../cli/ask.js";
import { BaseCommand } from "../cli/base.js";
import { EXIT } from "../cli/exit.js";
import { OperationError } from "../model/operation-error.js";
import type { SetupKey, SetupValues } from "../operations/setup/configuration.js";
import { isEdited, type FoundFile } from "../operations/setup/node-setup.js";
import { settingFlags } from "../settings/flags.js";
import type { Settings } from "../settings/settings.js";
import { nodeSetupDocument, renderNodeSetup, renderNodeSetupPlan } from "../views/node-setup.js";
import {
  applyMachineSetup,
  discoverWorkloads,
  planMachineSetup,
  problemOfAnswer,
  readSetupFile,
  requireRootFor,
} from "../wiring/setup.js";

/** Flags that become settings of the file. */
const FLAGS: readonly (readonly [flag: string, key: SetupKey])[] = [
  ["node", "node"],
  ["address", "address"],
  ["store", "store"],
  ["source", "source.url"],
  ["branch", "source.branch"],
  ["path", "source.path"],
];

const QUESTIONS: readonly (readonly [key: SetupKey, text: string])[] = [
  ["node", "Name of this node"],
  ["store", "Store: file:PATH, or etcds://HOST:PORT,…/PREFIX of a cluster"],
  ["source.url", "Policy repository, a Git URL"],
];

type Flags = Readonly<Record<string, unknown>>;

export default class Setup extends BaseCommand {
  static override summary = "Set up this machine: its configuration file, the checks, and the agent's units.";
  static override description =
    "Asks on a terminal for what flags do not say. What the file says already stays. A file that was edited is left alone without --force. Certificates of ztap cluster enroll are found by themselves. The store and the source are checked first: if one cannot be used, the file stays as it is. Exits with 1 if a check failed; then nothing is started.";
  static override examples = [
    "<%= config.bin %> setup --source https://git.example.com/policies.git",
    "<%= config.bin %> setup --store etcds://10.0.0.1:2379,10.0.0.2:2379,10.0.0.3:2379/ztap --dry-run",
    "<%= config.bin %> setup --discover > workloads.yaml",
  ];
  static override flags = {
    ...settingFlags("node", "address", "source.url", "source.branch", "source.path"),
    file: flagOf.string({ description: "the file to write", helpValue: "FILE", default: "/etc/ztap/config.yaml" }),
    "dry-run": flagOf.boolean({ description: "show what would be done", exclusive: ["discover"] }),
    force: flagOf.boolean({ description: "replace a file that was edited; it is kept beside the new one" }),
    discover: flagOf.boolean({ description: "print the workloads of this machine, as YAML for the policy repository" }),
    namespace: flagOf.string({ char: "n", description: "namespace of proposed workloads", default: "default" }),
  };

  async run(): Promise<void> {
    const { flags } = await this.parse(Setup);
    if (flags.json && (flags.discover || flags["dry-run"]))
      throw new OperationError(
        "usage",
        "--json goes neither with --discover nor with --dry-run: what they print is text",
      );
    const settings = await this.settings(flags);
    if (flags.discover) return this.#discover(settings, flags.namespace);
    if (!flags["dry-run"]) requireRootFor(flags.file);
    const found = readSetupFile(flags.file);
    const { node, store } = settings;
    const defaults: SetupValues = { node, store: store.kind === "file" ? `file:${store.path}` : "" };
    const given = { ...givenBy(flags), ...(await this.#answers(found, flags, defaults)) };
    const plan = planMachineSetup(found, given, { defaults, force: flags.force });
    if (flags["dry-run"]) return this.log(renderNodeSetupPlan(plan, this.style));
    const done = await applyMachineSetup(plan);
    this.print(flags, nodeSetupDocument(done), () => renderNodeSetup(done, this.style));
    if (done.units === null || done.units.outcome === "failed") process.exitCode = EXIT.failed;
  }

  /** What is proposed is for the repository, and everything else for the person: it goes to stderr. */
  async #discover(settings: Settings, namespace: string): Promise<void> {
    const { text, note } = await discoverWorkloads(settings, namespace);
    process.stdout.write(text);
    if (note !== null) this.logToStderr(this.style.line`ztap: ${note}`);
  }

  /** On a terminal, the answers to what neither flags nor the file say. */
  async #answers(found: FoundFile, flags: Flags, defaults: SetupValues): Promise<SetupValues> {
    if (!process.stdin.isTTY || flags["dry-run"] === true || isEdited(found)) return {};
    const given = givenBy(flags);
    const questions = QUESTIONS.filter(([key]) => found.layer[key] === undefined && given[key] === undefined);
    return Object.fromEntries(
      await ask(
        questions.map(([key, text]) => ({
          ...{ key, text, proposed: defaults[key] ?? "" },
          problemOf: (answer: string) => problemOfAnswer(key, answer),
        })),
      ),
    );
  }
}

function givenBy(flags: Flags): SetupValues {
  return Object.fromEntries(
    FLAGS.flatMap(([flag, key]) => (typeof flags[flag] === "string" ? [[key, flags[flag]] as const] : [])),
  );
}
