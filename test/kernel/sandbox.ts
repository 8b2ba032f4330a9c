/**
 * Sandbox: cgroups, network namespaces, processes and enforcers for one test file, all of them
 * named after this process and taken away at its end, whether the tests passed or not. What is left of a process that
 * was killed, test/sweep.ts takes away.
 */
import { execFileSync, spawn, type ChildProcess } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, rmdirSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import type { Test } from "tap";
import { EbpfEnforcer } from "../../src/adapters/ebpf/enforcer.js";
import { checkKernel, PROGRAMS_LOAD } from "../../src/adapters/ebpf/doctor.js";
import { DEFAULT_PIN_ROOT, findCgroupRoot } from "../../src/adapters/ebpf/kernel/paths.js";
import { removeNodes } from "../../src/adapters/ebpf/remove.js";
import type { Observation } from "../../src/interfaces/enforcer.js";
import type { Logger } from "../../src/interfaces/system.js";
import { waitUntil } from "../wait.js";

const silent = (): void => undefined;
export const quiet: Logger = { debug: silent, info: silent, warn: silent, error: silent };

/**
 * Why the kernel tests cannot run here, or null.
 * @throws Error if the kernel has every feature, and refuses a program; or if this is a guest, which exists for these tests
 */
export function whyNot(): string | null {
  const failed = checkKernel({}).find(({ state }) => state === "failed");
  if (failed === undefined) return null;
  const reason = `needs ${failed.name}: ${failed.detail}`;
  if (failed.name === PROGRAMS_LOAD || process.env["ZTAP_EMULATED"] === "1") throw new Error(reason);
  return reason;
}

let counter = 0;

export class Sandbox {
  readonly cgroupRoot = findCgroupRoot();
  readonly #prefix = `zt${process.pid}`;
  readonly #cgroups: string[] = [];
  readonly #namespaces: string[] = [];
  readonly #actors: Actor[] = [];
  readonly #enforcers: EbpfEnforcer[] = [];
  readonly #nodes: string[] = [];

  constructor(t: Test) {
    t.teardown(() => this.#end());
  }

  /** @returns the path below the cgroup root */
  cgroup(name: string): string {
    const path = this.cgroupPathOf(name);
    const parts = path.split("/");
    for (let depth = 1; depth <= parts.length; depth++) {
      const folder = join(this.cgroupRoot, ...parts.slice(0, depth));
      if (existsSync(folder)) continue;
      mkdirSync(folder);
      this.#cgroups.push(folder);
    }
    return path;
  }

  cgroupPathOf(name: string): string {
    return `${this.#prefix}/${name}`;
  }

  /**
   * Two network namespaces joined by a veth pair, with addresses of both families.
   * @param cgroup of who makes the first: the kernel's own sockets in there belong to it
   */
  network(a: Side, b: Side, cgroup = ""): readonly [namespaceA: string, namespaceB: string] {
    const id = `${this.#prefix}n${counter++}`;
    const names = [`${id}a`, `${id}b`] as const;
    for (const name of names) {
      const procs = join(this.cgroupRoot, name === names[0] ? cgroup : "", "cgroup.procs");
      execFileSync("sh", ["-c", `echo $$ > "$1" && exec ip netns add "$2"`, "sh", procs, name]);
      this.#namespaces.push(name);
      ip("-n", name, "link", "set", "lo", "up");
    }
    ip("-n", names[0], "link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", names[1]);
    [a, b].forEach((side, index) => {
      const name = names[index] ?? "";
      for (const address of side) {
        ip("-n", name, "address", "add", address, "dev", "eth0", ...(address.includes(":") ? ["nodad"] : []));
      }
      // Without link-local addresses nothing waits for their duplicate detection.
      ip("-n", name, "link", "set", "eth0", "addrgenmode", "none", "up");
    });
    return names;
  }

  /** Sends what goes there out of eth0. */
  route(namespace: string, prefix: string): void {
    ip("-n", namespace, "route", "add", prefix, "dev", "eth0");
  }

  /** Sends what goes to that address out of eth0, where nobody takes it. */
  lose(namespace: string, address: string): void {
    ip("-n", namespace, "neighbour", "add", address, "lladdr", "02:00:00:00:00:01", "dev", "eth0");
  }

  /** Returns whether the other side has acknowledged everything that connections of the namespace have sent. */
  isAcknowledged(namespace: string): boolean {
    const lines = execFileSync("ss", ["-N", namespace, "-Htn"], { encoding: "utf8" }).trim().split("\n");
    return lines.every((line) => line === "" || line.trim().split(/\s+/u)[2] === "0");
  }

  /** Lets everybody in the namespace open ping sockets. */
  allowPing(namespace: string): void {
    const groups = `echo "0 2147483647" > /proc/sys/net/ipv4/ping_group_range`;
    execFileSync("ip", ["netns", "exec", namespace, "sh", "-c", groups]);
  }

  /** Of eth0, hexadecimal. */
  hardwareAddress(namespace: string): string {
    const path = "/sys/class/net/eth0/address";
    return execFileSync("ip", ["netns", "exec", namespace, "cat", path], { encoding: "utf8" }).replace(/[:\n]/g, "");
  }

  /** A network namespace for each address (with its prefix), all joined by a bridge in one of their own. */
  bridge(addresses: readonly string[]): readonly string[] {
    const id = `${this.#prefix}n${counter++}`;
    const hub = `${id}hub`;
    const names = addresses.map((_address, at) => `${id}p${at}`);
    for (const name of [hub, ...names]) {
      ip("netns", "add", name);
      this.#namespaces.push(name);
      ip("-n", name, "link", "set", "lo", "up");
    }
    ip("-n", hub, "link", "add", "br0", "type", "bridge");
    ip("-n", hub, "link", "set", "br0", "up");
    for (const [at, name] of names.entries()) {
      ip("-n", name, "link", "add", "eth0", "type", "veth", "peer", "name", `p${at}`, "netns", hub);
      ip("-n", hub, "link", "set", `p${at}`, "master", "br0", "up");
      ip("-n", name, "address", "add", addresses[at] ?? "", "dev", "eth0");
      ip("-n", name, "link", "set", "eth0", "addrgenmode", "none", "up");
    }
    return names;
  }

  async actor(place: { readonly cgroup?: string; readonly namespace: string }): Promise<Actor> {
    const procs = join(this.cgroupRoot, place.cgroup ?? "", "cgroup.procs");
    const script = fileURLToPath(new URL("./actor.js", import.meta.url));
    // The cgroup first: "ip netns exec" hides /sys behind a fresh one.
    const enter = `echo $$ > "$1" && exec ip netns exec "$2" "$3" "$4"`;
    const child = spawn("sh", ["-c", enter, "sh", procs, place.namespace, process.execPath, script], {
      stdio: ["pipe", "pipe", "inherit"],
    });
    const actor = new Actor(child);
    this.#actors.push(actor);
    await actor.ready;
    return actor;
  }

  node(name = "node"): string {
    const node = `${this.#prefix}-${name}`;
    if (!this.#nodes.includes(node)) this.#nodes.push(node);
    return node;
  }

  /** @param top a cgroup that is taken for the root of the hierarchy: the host is what is below it */
  enforcer(node: string, top = ""): EbpfEnforcer {
    const enforcer = new EbpfEnforcer({ node, logger: quiet, cgroupRoot: join(this.cgroupRoot, top) });
    this.#enforcers.push(enforcer);
    return enforcer;
  }

  async closeEnforcers(): Promise<void> {
    for (const enforcer of this.#enforcers) await enforcer.close();
  }

  async #end(): Promise<void> {
    for (const actor of this.#actors) await actor.end();
    await this.closeEnforcers();
    for (const node of this.#nodes) removeNodes({ node, pinRoot: DEFAULT_PIN_ROOT });
    for (const name of this.#namespaces) ip("netns", "delete", name);
    for (const folder of this.#cgroups.reverse()) {
      await waitUntil(() => !existsSync(folder) || readFileSync(join(folder, "cgroup.procs"), "utf8") === "", {
        what: `the end of the processes in ${folder}`,
      });
      if (existsSync(folder)) rmdirSync(folder);
    }
  }
}

export type Side = readonly string[];

function ip(...args: readonly string[]): void {
  execFileSync("ip", args, { stdio: ["ignore", "ignore", "inherit"] });
}

export interface Answer {
  readonly [name: string]: unknown;
  readonly id?: number;
  readonly port?: number;
  readonly code?: string;
  readonly text?: string;
}

export class Actor {
  readonly ready: Promise<Answer>;
  readonly #child: ChildProcess;
  readonly #calls = new Map<number, (answer: Answer) => void>();
  #next = 1;

  constructor(child: ChildProcess) {
    this.#child = child;
    this.ready = new Promise((resolve) => this.#calls.set(0, resolve));
    if (child.stdout !== null) {
      createInterface({ input: child.stdout }).on("line", (line) => {
        const { call, answer }: { call: number; answer: Answer } = JSON.parse(line);
        this.#calls.get(call)?.(answer);
        this.#calls.delete(call);
      });
    }
    child.stdin?.on("error", () => undefined);
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  /** Sends a command. The promise stays pending for as long as the kernel gives no outcome. */
  call(name: string, args: Readonly<Record<string, unknown>> = {}): Promise<Answer> {
    const call = this.#next++;
    return new Promise((resolve) => {
      this.#calls.set(call, resolve);
      this.#child.stdin?.write(`${JSON.stringify({ call, do: name, ...args })}\n`);
    });
  }

  async end(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const gone = new Promise((resolve) => this.#child.once("exit", resolve));
    this.#child.kill("SIGKILL");
    await gone;
  }
}

export function packets(
  observation: Observation,
  direction: "ingress" | "egress",
  verdict: "allowed" | "denied" | "audited",
): bigint {
  return observation.packets.find((one) => one.direction === direction && one.verdict === verdict)?.packets ?? 0n;
}
