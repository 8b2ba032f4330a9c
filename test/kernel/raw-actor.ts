/** RawActor: a process with raw, ping and packet sockets (raw.c), in a cgroup and a network namespace. */
import { execFileSync, spawn, type ChildProcess } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import type { Test } from "tap";
import { type Sandbox } from "./sandbox.js";
import { waitUntil } from "../wait.js";

/** The sources of the tests lie beside dist. */
const SOURCE = fileURLToPath(new URL("../../../test/kernel/raw.c", import.meta.url));

/** Numbers of <sys/socket.h>. */
export const AF = { unix: 1, inet: 2, inet6: 10, netlink: 16, packet: 17, alg: 38, vsock: 40 } as const;
export const SOCK = { stream: 1, datagram: 2, raw: 3 } as const;

export class RawActor {
  readonly received: { readonly fd: number; readonly bytes: string }[] = [];
  readonly #child: ChildProcess;
  readonly #answers: ((answer: string) => void)[] = [];

  private constructor(child: ChildProcess) {
    this.#child = child;
    child.stdin?.on("error", () => undefined);
    if (child.stdout === null) return;
    createInterface({ input: child.stdout }).on("line", (line) => {
      const [, fd, bytes] = /^got (\d+) (.*)$/.exec(line) ?? [];
      if (bytes === undefined) this.#answers.shift()?.(line);
      else this.received.push({ fd: Number(fd), bytes });
    });
  }

  static async start(
    t: Test,
    sandbox: Sandbox,
    { cgroup = "", namespace }: { readonly cgroup?: string; readonly namespace: string },
  ): Promise<RawActor> {
    const folder = mkdtempSync(join(tmpdir(), "ztap-raw-"));
    t.teardown(() => rmSync(folder, { recursive: true, force: true }));
    const program = join(folder, "raw");
    execFileSync("cc", ["-O1", "-Wall", "-Wextra", "-Werror", "-o", program, SOURCE]);
    const enter = `echo $$ > "$1" && exec ip netns exec "$2" "$3"`;
    const args = ["-c", enter, "sh", join(sandbox.cgroupRoot, cgroup, "cgroup.procs"), namespace, program];
    const actor = new RawActor(spawn("sh", args, { stdio: ["pipe", "pipe", "inherit"] }));
    t.teardown(() => actor.#end());
    await new Promise<string>((resolve) => actor.#answers.push(resolve));
    return actor;
  }

  command(line: string): Promise<string> {
    return new Promise((resolve) => {
      this.#answers.push(resolve);
      this.#child.stdin?.write(`${line}\n`);
    });
  }

  async socket(domain: number, type: number, protocol: number): Promise<number> {
    const answer = await this.command(`socket ${domain} ${type} ${protocol}`);
    const fd = /^fd (\d+)$/.exec(answer)?.[1];
    if (fd === undefined) throw new Error(`socket: ${answer}`);
    return Number(fd);
  }

  send(fd: number, address: string, port: number, bytes: Buffer): Promise<string> {
    return this.command(`send ${fd} ${address} ${port} ${bytes.toString("hex")}`);
  }

  /** Resolves when the socket has received what holds these bytes, hexadecimal. */
  async gets(fd: number, bytes: string): Promise<void> {
    await waitUntil(() => this.hasGot(fd, bytes), { what: "the bytes" });
  }

  hasGot(fd: number, bytes: string): boolean {
    return this.received.some((one) => one.fd === fd && one.bytes.includes(bytes));
  }

  async #end(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const gone = new Promise((resolve) => this.#child.once("exit", resolve));
    this.#child.kill("SIGKILL");
    await gone;
  }
}
