/** A machine with the stand-in of pfctl: a folder of the test's own, with the program, and what its pf holds. */
import { chmodSync, copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Test } from "tap";
import { PfEnforcer } from "../../src/adapters/pf/enforcer.js";

// Tests run from dist/test/pf.
const STAND_IN = fileURLToPath(new URL("../../../test/pf/pfctl.mjs", import.meta.url));

export interface PfState {
  enabled: boolean;
  tokens: string[];
  main: string[];
  anchors: Record<string, { rules: string[]; tables: Record<string, string[]>; counts: number[] }>;
  states: { line: string; from: string; to: string }[];
  calls: string[];
  lastText?: string;
  failLoad?: boolean;
  failCheck?: boolean;
  failKill?: boolean;
  notRoot?: boolean;
  noToken?: boolean;
}

const FRESH: PfState = { enabled: false, tokens: [], main: ['anchor "ztap" all'], anchors: {}, states: [], calls: [] };

export class Machine {
  readonly folder: string;
  readonly pfctl: string;
  readonly addresses = ["127.0.0.1", "10.0.0.1", "10.0.0.2"];

  constructor(t: Test) {
    this.folder = mkdtempSync(join(tmpdir(), "ztap-pf-"));
    this.pfctl = join(this.folder, "pfctl");
    // The program takes its state from beside itself: the edge gives it no environment.
    copyFileSync(STAND_IN, `${this.pfctl}.mjs`);
    writeFileSync(
      this.pfctl,
      `#!/bin/sh\nPF_STATE=${this.pfctl}.json exec ${process.execPath} ${this.pfctl}.mjs "$@"\n`,
    );
    chmodSync(this.pfctl, 0o755);
    this.change(() => FRESH);
    t.teardown(() => rmSync(this.folder, { recursive: true, force: true }));
  }

  get state(): PfState {
    const state: PfState = JSON.parse(readFileSync(`${this.pfctl}.json`, "utf8"));
    return state;
  }

  change(edit: (state: PfState) => Partial<PfState>, clear = false): void {
    const before = clear ? FRESH : this.#stateOrFresh();
    writeFileSync(`${this.pfctl}.json`, JSON.stringify({ ...before, ...edit(before) }));
  }

  enforcer(options: { readonly node?: string; readonly readOnly?: boolean } = {}): PfEnforcer {
    const quiet = { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined };
    return new PfEnforcer({
      ...{ node: "mac-1", logger: quiet, stateDir: this.folder, pfctl: this.pfctl, addresses: () => this.addresses },
      ...options,
    });
  }

  #stateOrFresh(): PfState {
    try {
      return this.state;
    } catch {
      return FRESH;
    }
  }
}
