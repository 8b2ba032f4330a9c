/**
 * Pods: one network namespace, one cgroup and one process each, on a bridge; and probes between
 * them, one at a time, so that each outcome is certain without waiting for a time to pass: an answer,
 * an error of the call, or a packet that the target's programs refused.
 */
import { execFileSync, spawn, type ChildProcess } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import type { Test } from "tap";
import type { Sandbox } from "../kernel/sandbox.js";
import { waitUntil } from "../wait.js";

/** The sources of the tests lie beside dist. */
const SOURCE = fileURLToPath(new URL("../../../test/conformance/pod.c", import.meta.url));

export class Pods {
  readonly #addresses: Readonly<Record<string, string>>;
  readonly #pods = new Map<string, Pod>();
  #next = 1;

  private constructor(addresses: Readonly<Record<string, string>>) {
    this.#addresses = addresses;
  }

  /** @param addresses by pod, all in one /16 */
  static async start(
    t: Test,
    sandbox: Sandbox,
    addresses: Readonly<Record<string, string>>,
    ports: readonly number[],
  ): Promise<Pods> {
    const folder = mkdtempSync(join(tmpdir(), `ztap-pods-${process.pid}-`));
    t.teardown(() => rmSync(folder, { recursive: true, force: true }));
    const program = join(folder, "pod");
    execFileSync("cc", ["-O1", "-Wall", "-Wextra", "-Werror", "-o", program, SOURCE]);
    const pods = new Pods(addresses);
    const names = Object.keys(addresses);
    const namespaces = sandbox.bridge(names.map((name) => `${addresses[name] ?? ""}/16`));
    t.teardown(async () => {
      for (const pod of pods.#pods.values()) await pod.end();
    });
    for (const [at, name] of names.entries()) {
      const procs = join(sandbox.cgroupRoot, sandbox.cgroup(cgroupName(name)), "cgroup.procs");
      // The cgroup first: "ip netns exec" hides /sys behind a fresh one.
      const enter = `procs=$1; shift; echo $$ > "$procs" && exec ip netns exec "$@"`;
      const args = ["-c", enter, "sh", procs, namespaces[at] ?? "", program, ...ports.map(String)];
      const pod = new Pod(spawn("sh", args, { stdio: ["pipe", "pipe", "inherit"] }));
      pods.#pods.set(name, pod);
    }
    await Promise.all([...pods.#pods.values()].map((pod) => pod.outcome(0)));
    return pods;
  }

  /**
   * @param refusals packets that ingress programs refused so far
   * @returns `open`, `refused at the source`, `refused at the target`, or the name of an unexpected error
   */
  async probe(
    from: string,
    to: string,
    { protocol, port }: { readonly protocol: string; readonly port: number },
    refusals: () => bigint,
  ): Promise<string> {
    const pod = this.#pods.get(from);
    if (pod === undefined) throw new TypeError(`no pod ${from}`);
    const id = this.#next++;
    const before = refusals();
    const answered = pod.outcome(id);
    const settled: string[] = [];
    void answered.then((outcome) => settled.push(outcome));
    pod.send(`${id} ${protocol.toLowerCase()} ${this.#addresses[to] ?? ""} ${port}`);
    await waitUntil(() => settled.length > 0 || refusals() !== before, { what: `an outcome of ${from} to ${to}` });
    const [outcome = "refused at the target"] = settled;
    return outcome === "EPERM" ? "refused at the source" : outcome;
  }

  cgroupOf(sandbox: Sandbox, pod: string): string {
    return sandbox.cgroup(cgroupName(pod));
  }
}

function cgroupName(pod: string): string {
  return pod.replace("/", "-");
}

class Pod {
  readonly #child: ChildProcess;
  readonly #waiting = new Map<number, (outcome: string) => void>();

  constructor(child: ChildProcess) {
    this.#child = child;
    child.stdin?.on("error", () => undefined);
    if (child.stdout === null) return;
    createInterface({ input: child.stdout }).on("line", (line) => {
      const [id = "", outcome = ""] = line.split(" ");
      this.#waiting.get(Number(id))?.(outcome);
      this.#waiting.delete(Number(id));
    });
  }

  outcome(id: number): Promise<string> {
    return new Promise((resolve) => this.#waiting.set(id, resolve));
  }

  send(line: string): void {
    this.#child.stdin?.write(`${line}\n`);
  }

  async end(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const gone = new Promise((resolve) => this.#child.once("exit", resolve));
    this.#child.kill("SIGKILL");
    await gone;
  }
}
