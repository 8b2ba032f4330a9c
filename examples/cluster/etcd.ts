/** One member of an etcd cluster as a process: started, killed, frozen and started again. */
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { closeSync, existsSync, openSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";

/** Of the checkout; this module runs from `dist/examples/cluster`. */
export const ROOT = fileURLToPath(new URL("../../../", import.meta.url));

/** Debian's: the machine's own, or as the set-up unpacked it. */
export function etcdProgram(name: "etcd" | "etcdctl"): string {
  const own = join(ROOT, ".etcd/usr/bin", name);
  return existsSync(own) ? own : name;
}

const READY = /serving client traffic|ready to serve client requests/;

export interface EtcdOptions {
  readonly name: string;
  readonly dataDir: string;
  /** `host:port` */
  readonly client: string;
  readonly peer: string;
  readonly scheme: "http" | "https";
  /** `name=url` of every member. */
  readonly peers: readonly string[];
  readonly flags: readonly string[];
  /** What the program is started with, such as `nsenter --net=…`; empty for none. */
  readonly wrapper: readonly string[];
}

export class EtcdProcess {
  #child: ChildProcess | null = null;

  constructor(readonly options: EtcdOptions) {}

  get pid(): number | null {
    return this.#child?.pid ?? null;
  }

  /** Resolves when the member serves its clients. */
  async start(): Promise<void> {
    const { name, dataDir, client, peer, scheme, peers, flags, wrapper } = this.options;
    const command = [
      ...wrapper,
      etcdProgram("etcd"),
      `--name=${name}`,
      `--data-dir=${dataDir}`,
      `--listen-client-urls=${scheme}://${client}`,
      `--advertise-client-urls=${scheme}://${client}`,
      `--listen-peer-urls=http://${peer}`,
      `--initial-advertise-peer-urls=http://${peer}`,
      `--initial-cluster=${peers.join(",")}`,
      "--logger=zap",
      "--log-level=info",
      ...flags,
    ];
    const [program = "", ...args] = command;
    // A file, since a pipe that nobody reads for a while would stop the member.
    const logPath = `${dataDir}.log`;
    const log = openSync(logPath, "w");
    const child = spawn(program, args, { stdio: ["ignore", log, log] });
    closeSync(log);
    this.#child = child;
    const failures: Error[] = [];
    child.once("error", (error) => failures.push(error));
    for (let said = ""; !READY.test(said); said = readFileSync(logPath, "utf8")) {
      if (failures.length > 0 || child.exitCode !== null || child.signalCode !== null)
        throw new Error(`etcd did not start: ${said.slice(-2000)}`, { cause: failures[0] });
      await delay(20);
    }
  }

  async kill(): Promise<void> {
    const child = this.#child;
    this.#child = null;
    if (child === null || child.exitCode !== null || child.signalCode !== null) return;
    const ended = once(child, "exit");
    child.kill("SIGKILL");
    await ended;
  }

  /** The process stays, and answers nothing. */
  freeze(): void {
    this.#child?.kill("SIGSTOP");
  }

  thaw(): void {
    this.#child?.kill("SIGCONT");
  }
}
