/**
 * PfEnforcer: the Enforcer of macOS. It loads everything into one private anchor of pf. It reads the main ruleset and
 * /etc/pf.conf and never writes them (setup.ts does, on request).
 *
 * apply: check the text (`-n`) → load rules and tables in one transaction → make sure that pf is enabled → end the
 * connections that the new rules would not allow to begin → read back. Killed before the load, the old rules stand as a
 * whole; after it, the new ones do. The next `observe` finds the rest, a forbidden connection too. See
 * docs/adr/0006-pf.md.
 */
import { networkInterfaces } from "node:os";
import { compareItems } from "../../diff/drift.js";
import type { Ruleset, Subject } from "../../model/ruleset.js";
import type { SubjectStatus } from "../../model/status.js";
import { EnforcerError, type Enforcer, type ItemSet, type Observation } from "../../interfaces/enforcer.js";
import type { Logger } from "../../interfaces/system.js";
import { PfCounters } from "./pfctl/counters.js";
import { endingItem, EndingFile, mergeEndings, type Ending } from "./pfctl/ending.js";
import { heldItems, wantedItems, type Held } from "./items.js";
import { takeLock, type Lock } from "./pfctl/lock.js";
import { ANCHOR } from "./render/names.js";
import { findAnchor, readLabels, readRules, readStates, readTable, readTableNames } from "./pfctl/output.js";
import { Pfctl } from "./pfctl/pfctl.js";
import { readReference, ReferenceFile, takeReference } from "./reference.js";
import { render, type Rendered } from "./render/render.js";
import { findForbidden, killOf } from "./pfctl/states.js";

export interface PfOptions {
  readonly node: string;
  /** Where the token of pf's reference is kept. */
  readonly stateDir: string;
  readonly logger: Logger;
  /** Default: /sbin/pfctl. */
  readonly pfctl?: string;
  /** The addresses that this machine has now. Default: those of its interfaces. */
  readonly addresses?: () => readonly string[];
  /** Only `lower` and `observe`. */
  readonly readOnly?: boolean;
}

/** Without optimizer, which would put rules together and so lose their labels. */
const LOAD = ["-o", "none", "-f", "-"] as const;

export class PfEnforcer implements Enforcer {
  readonly backend = "pf";
  /** pf tells what it drops only to a device that one reader at a time may have. */
  readonly flowSource = null;
  readonly peerKeys = null;
  readonly #options: PfOptions;
  readonly #pfctl: Pfctl;
  readonly #reference: ReferenceFile;
  readonly #ending: EndingFile;
  readonly #rendered = new WeakMap<Ruleset, Rendered>();
  readonly #printed = new WeakMap<Rendered, readonly string[]>();
  readonly #counters = new PfCounters();
  #lock: Lock | null = null;

  constructor(options: PfOptions) {
    this.#options = options;
    this.#pfctl = new Pfctl(options.pfctl);
    this.#reference = new ReferenceFile(options.stateDir);
    this.#ending = new EndingFile(options.stateDir);
  }

  lower(ruleset: Ruleset): ItemSet {
    return wantedItems(ruleset, this.#render(ruleset));
  }

  async open(): Promise<void> {
    const { node, logger, stateDir, readOnly } = this.#options;
    await this.#pfctl.run("Reading pf's state", ["-s", "info"]);
    if (readOnly === true) return;
    this.#lock = await takeLock(stateDir);
    const before = await this.#reference.read();
    if (before !== null && before.node !== node) {
      await this.close();
      throw new EnforcerError(
        "busy",
        `anchor "${ANCHOR}" of this machine is node ${before.node}'s, and there is one; take it away with "ztap enforcement remove" first`,
      );
    }
    logger.debug("pf can be read", { anchor: ANCHOR });
  }

  async observe(ruleset: Ruleset): Promise<Observation> {
    const rendered = this.#render(ruleset);
    const held = await this.#look(ruleset, rendered);
    const items = new Map(heldItems(ruleset, rendered, await this.#print(rendered), held));
    for (const item of (await this.#ending.read()).map(endingItem)) items.set(item.key, item);
    const labels = readLabels(await this.#pfctl.readAnchor("Reading pf's counters", ["-s", "labels"]));
    return {
      ...compareItems(this.lower(ruleset), items, this.#assess(ruleset, rendered, held)),
      ...this.#counters.read(ruleset, rendered, labels),
      escapes: [],
      refusals: [],
    };
  }

  async apply(ruleset: Ruleset): Promise<Observation> {
    if (this.#options.readOnly === true) throw new TypeError("an enforcer that only looks cannot apply");
    const rendered = this.#render(ruleset);
    const pfctl = this.#pfctl;
    await pfctl.inAnchor("Checking the rules", ["-n", ...LOAD], rendered.text);
    const before = readLabels(await pfctl.readAnchor("Reading pf's counters", ["-s", "labels"]));
    const endings = mergeEndings([...(await this.#ending.read()), ...newlyBound(ruleset, rendered, before)]);
    if (endings.length > 0) await this.#ending.write(endings);
    await pfctl.inAnchor("Loading the rules", LOAD, rendered.text);
    this.#counters.keep(before);
    await takeReference(pfctl, this.#reference, this.#options.node);
    await this.#endConnections(ruleset, rendered, endings);
    if (endings.length > 0) await this.#ending.remove();
    await this.#requireAnchor();
    return this.observe(ruleset);
  }

  /** Nothing reports new addresses; the check interval finds them. */
  async *watch(signal: AbortSignal): AsyncIterable<void> {
    await new Promise<void>((resolve) => {
      if (signal.aborted) resolve();
      else signal.addEventListener("abort", () => resolve(), { once: true });
    });
  }

  async close(): Promise<void> {
    const lock = this.#lock;
    this.#lock = null;
    await lock?.release();
  }

  async #look(ruleset: Ruleset, rendered: Rendered): Promise<Held> {
    const pfctl = this.#pfctl;
    const main = readRules((await pfctl.run("Reading pf's main ruleset", ["-s", "rules"])).stdout);
    const rules = readRules(await pfctl.readAnchor("Reading pf's rules", ["-s", "rules"]));
    const names = readTableNames(await pfctl.readAnchor("Listing pf's tables", ["-s", "Tables"]));
    const tables = new Map<string, readonly string[]>();
    for (const name of names) {
      const { stdout } = await pfctl.inAnchor(`Reading pf's table ${name}`, ["-t", name, "-T", "show"]);
      tables.set(name, readTable(stdout));
    }
    const { isEnabled, isHeld } = await readReference(pfctl, this.#reference);
    const forbidden = await this.#forbidden(ruleset, rendered);
    return { isEnabled, isHeld, isLinked: findAnchor(main) >= 0, rules, tables, forbidden };
  }

  async #forbidden(ruleset: Ruleset, { closed }: Rendered): Promise<ReturnType<typeof findForbidden>> {
    const { stdout } = await this.#pfctl.run("Reading pf's states", ["-s", "states"]);
    const { states, unread } = readStates(stdout);
    const own = ruleset.subjects.flatMap(({ addresses }) => addresses);
    const strange = unread.find((line) => line.split(/[^0-9a-fA-F.:]+/).some((word) => own.includes(word)));
    if (strange !== undefined)
      throw new EnforcerError("unsupported", `pfctl prints a connection in a form that is not known: ${strange}`);
    return findForbidden(ruleset, closed, states);
  }

  /** As this machine's pfctl would print the rules once they are loaded; it loads nothing. */
  async #print(rendered: Rendered): Promise<readonly string[]> {
    const known = this.#printed.get(rendered);
    if (known !== undefined) return known;
    const { stdout } = await this.#pfctl.inAnchor("Checking the rules", ["-n", "-v", ...LOAD], rendered.text);
    const printed = readRules(stdout);
    if (printed.length !== rendered.rules.length) {
      throw new EnforcerError(
        "unsupported",
        `pfctl makes ${printed.length} rules of ${rendered.rules.length}: this version of it is not known`,
      );
    }
    this.#printed.set(rendered, printed);
    return printed;
  }

  /** Every connection that the rules would not let begin, and all of a user's that is new: a state tells no user. */
  async #endConnections(ruleset: Ruleset, rendered: Rendered, endings: readonly Ending[]): Promise<void> {
    const pairs = new Set((await this.#forbidden(ruleset, rendered)).map((state) => killOf(state).join(" ")));
    const subjects = new Map(ruleset.subjects.map((subject) => [subject.workload, subject]));
    for (const { workload, direction } of endings) {
      const subject = subjects.get(workload);
      // It was written down for rules that were never loaded, and these bind it to nobody.
      if (subject?.user === undefined) continue;
      for (const address of subject.addresses) {
        const anybody = address.includes(":") ? "::/0" : "0.0.0.0/0";
        pairs.add(direction === "egress" ? `${address} ${anybody}` : `${anybody} ${address}`);
      }
    }
    for (const pair of pairs) {
      const [source = "", destination = ""] = pair.split(" ");
      await this.#pfctl.run("Ending connections", ["-k", source, "-k", destination]);
    }
    if (pairs.size > 0) this.#options.logger.info(`ended the connections of ${pairs.size} pairs of hosts`);
  }

  async #requireAnchor(): Promise<void> {
    const main = readRules((await this.#pfctl.run("Reading pf's main ruleset", ["-s", "rules"])).stdout);
    if (findAnchor(main) >= 0) return;
    throw new EnforcerError(
      "unsupported",
      `the rules are loaded, and pf never comes to them: its main ruleset has no line \`anchor "${ANCHOR}"\`; ` +
        "`ztap enforcement setup --backend pf` adds it",
    );
  }

  #assess(ruleset: Ruleset, { refusals }: Rendered, held: Held): readonly SubjectStatus[] {
    const here = new Set((this.#options.addresses ?? interfaceAddresses)());
    const reasons = Map.groupBy(refusals, ({ workload }) => workload);
    return ruleset.subjects.map(({ workload, addresses }: Subject): SubjectStatus => {
      const [refusal] = reasons.get(workload) ?? [];
      if (refusal !== undefined) return { workload, state: "Stalled", message: refusal.message };
      if (!held.isEnabled) return { workload, state: "Stalled", message: "pf is not enabled" };
      if (!held.isLinked)
        return { workload, state: "Stalled", message: `pf's main ruleset does not come to anchor "${ANCHOR}"` };
      if (addresses.length > 0 && !addresses.some((address) => here.has(address)))
        return {
          workload,
          state: "Pending",
          message: `no interface has ${addresses.join(" or ")}; its rules are loaded`,
        };
      return { workload, state: "Enforced" };
    });
  }

  /** Rulesets are immutable: one is rendered once. */
  #render(ruleset: Ruleset): Rendered {
    const known = this.#rendered.get(ruleset) ?? render(ruleset);
    this.#rendered.set(ruleset, known);
    return known;
  }
}

/** Directions of workloads with a user that no rule bound before. */
function newlyBound(ruleset: Ruleset, { rules }: Rendered, before: ReadonlyMap<string, bigint>): readonly Ending[] {
  const users = new Set(ruleset.subjects.flatMap(({ workload, user }) => (user === undefined ? [] : [workload])));
  return rules.flatMap(({ kind, label, workload = "", direction }) =>
    kind === "denied" && !before.has(label) && users.has(workload) && direction !== undefined
      ? [{ workload, direction }]
      : [],
  );
}

function interfaceAddresses(): readonly string[] {
  return Object.values(networkInterfaces()).flatMap((list) => (list ?? []).map(({ address }) => address));
}
