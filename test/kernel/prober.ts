/** Prober: a process that probes what is allowed and what is forbidden, without a pause; see prober.c. */
import { execFileSync, spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface, type Interface } from "node:readline";
import { fileURLToPath } from "node:url";
import type { Test } from "tap";
import type { Sandbox } from "./sandbox.js";

/** The sources of the tests lie beside dist. */
const SOURCE = fileURLToPath(new URL("../../../test/kernel/prober.c", import.meta.url));

export interface Ports {
  readonly allowed: number;
  readonly forbidden: number;
}

export interface Counters {
  readonly sent: Ports;
  /** EPERM. */
  readonly refused: Ports;
  readonly got: Ports;
  /** What came to its allowed port and was not let in. */
  readonly dropped: number;
}

/** The program, once it is built. */
let built: string | undefined;

function build(): string {
  const folder = mkdtempSync(join(tmpdir(), "ztap-prober-"));
  process.once("exit", () => rmSync(folder, { recursive: true, force: true }));
  const program = join(folder, "prober");
  execFileSync("cc", ["-O2", "-Wall", "-Wextra", "-Werror", "-o", program, SOURCE]);
  return program;
}

export class Prober {
  readonly #child: ChildProcess;
  readonly #lines: Interface;
  /** Its own, where it counts what arrives. */
  ports: Ports = { allowed: 0, forbidden: 0 };

  private constructor(child: ChildProcess) {
    this.#child = child;
    if (child.stdout === null) throw new TypeError("the prober has no output");
    this.#lines = createInterface({ input: child.stdout });
  }

  static async start(
    t: Test,
    sandbox: Sandbox,
    place: { readonly cgroup?: string; readonly namespace: string },
    target: { readonly host: string } & Ports,
  ): Promise<Prober> {
    const program = (built ??= build());
    const enter = `echo $$ > "$1" && ns=$2 && shift 2 && exec ip netns exec "$ns" "$@"`;
    const procs = join(sandbox.cgroupRoot, place.cgroup ?? "", "cgroup.procs");
    const command = [program, target.host, String(target.allowed), String(target.forbidden)];
    const child = spawn("sh", ["-c", enter, "sh", procs, place.namespace, ...command], {
      stdio: ["pipe", "pipe", "inherit"],
    });
    const prober = new Prober(child);
    t.teardown(() => prober.end());
    const [, allowed = 0, forbidden = 0] = (await prober.#line()).split(" ").map(Number);
    prober.ports = { allowed, forbidden };
    return prober;
  }

  async counters(): Promise<Counters> {
    const line = this.#line();
    this.#child.stdin?.write("\n");
    const [a = 0, b = 0, c = 0, d = 0, e = 0, f = 0, dropped = 0] = (await line).split(" ").map(Number);
    return {
      sent: { allowed: a, forbidden: c },
      refused: { allowed: b, forbidden: d },
      got: { allowed: e, forbidden: f },
      dropped,
    };
  }

  async #line(): Promise<string> {
    const [line]: unknown[] = await once(this.#lines, "line");
    return String(line);
  }

  async end(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const gone = once(this.#child, "exit");
    this.#child.kill("SIGKILL");
    await gone;
  }
}
