/** A machine with the stand-in of pfctl: a folder of the test's own, with the program, and what its pf holds. */
import { chmodSync, copyFileSync, mkdtempSync, rmSync } from "node:fs";
import { createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Test } from "tap";
import { PfEnforcer } from "../../src/adapters/pf/enforcer.js";
import { runPfctl, type PfState } from "./stand-in.js";

// Tests run from dist/test/pf.
const PROGRAM = fileURLToPath(new URL("../../../test/pf/pfctl.pl", import.meta.url));

const FRESH: PfState = { enabled: false, tokens: [], main: ['anchor "ztap" all'], anchors: {}, states: [], calls: [] };

export class Machine {
  readonly folder: string;
  readonly pfctl: string;
  readonly addresses = ["127.0.0.1", "10.0.0.1", "10.0.0.2"];

  #state = structuredClone(FRESH);

  constructor(t: Test) {
    this.folder = mkdtempSync(join(tmpdir(), `ztap-pf-${process.pid}-`));
    this.pfctl = join(this.folder, "pfctl");
    copyFileSync(PROGRAM, this.pfctl);
    chmodSync(this.pfctl, 0o755);
    const server = createServer({ allowHalfOpen: true }, (socket) => this.#serve(socket));
    server.listen(`${this.pfctl}.sock`).unref();
    t.teardown(() => {
      server.close();
      rmSync(this.folder, { recursive: true, force: true });
    });
  }

  get state(): PfState {
    return structuredClone(this.#state);
  }

  change(edit: (state: PfState) => Partial<PfState>, clear = false): void {
    const before = clear ? structuredClone(FRESH) : this.state;
    this.#state = { ...before, ...edit(before) };
  }

  #serve(socket: Socket): void {
    const chunks: Buffer[] = [];
    socket.on("data", (chunk) => chunks.push(chunk));
    socket.on("end", () => {
      const [args = "", input = ""] = Buffer.concat(chunks).toString().split("\x01");
      const { code, stdout, stderr } = runPfctl(this.#state, args.split("\0"), input);
      socket.end(`${code}\n${Buffer.byteLength(stdout)}\n${stdout}${stderr}`);
    });
    socket.on("error", () => undefined);
  }

  enforcer(options: { readonly node?: string; readonly readOnly?: boolean } = {}): PfEnforcer {
    const quiet = { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined };
    return new PfEnforcer({
      ...{ node: "mac-1", logger: quiet, stateDir: this.folder, pfctl: this.pfctl, addresses: () => this.addresses },
      ...options,
    });
  }
}
