/**
 * Three hosts on one machine: network namespaces, in each an etcd member, an agent and a workload
 * with a server; and a Git repository that the agents poll. Everything carries this process's id in
 * its name and is taken away by `close`.
 */
import { execFileSync, spawn, spawnSync, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { createWriteStream, globSync, mkdirSync, mkdtempSync, readFileSync, rmSync, rmdirSync, writeFileSync } from "node:fs";
import { cp } from "node:fs/promises";
import { tmpdir } from "node:os";
import { setTimeout as delay } from "node:timers/promises";
import { join } from "node:path";
import type { Readable } from "node:stream";
import { EtcdProcess, ROOT } from "./etcd.js";
import { addressOf, Network } from "./network.js";

export const HOSTS = [1, 2, 3] as const;
export type Host = (typeof HOSTS)[number];
/** The workload of each host. */
export const WORKLOADS = { 1: "web", 2: "api", 3: "db" } as const;
/** Each workload may talk to the one on this host, under the policies that the example begins with. */
export const NEXT = { 1: 2, 2: 3, 3: 1 } as const;

const ZTAP = join(ROOT, "bin/ztap");
/** The two ports that each workload's server listens on. */
const PORTS = [8000, 8001] as const;
const SERVER = `for (const port of [${PORTS.join(",")}]) require("net").createServer((s) => s.end("hello\\n")).listen(port, process.argv[1], () => console.log(port));`;

export interface Finished {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

function collect(stream: Readable): () => string {
  const chunks: Buffer[] = [];
  stream.on("data", (chunk: Buffer) => chunks.push(chunk));
  return () => Buffer.concat(chunks).toString();
}

export class ExampleCluster {
  readonly id = `ztap-c${process.pid}`;
  readonly folder = mkdtempSync(join(tmpdir(), `${this.id}-`));
  readonly repository = join(this.folder, "policies");
  readonly #network = new Network(this.id);
  readonly #etcd = new Map<Host, EtcdProcess>();
  readonly #agents = new Map<Host, ChildProcess>();
  readonly #servers: ChildProcess[] = [];
  readonly #cgroups: string[] = [];

  async open(): Promise<void> {
    await this.#prepareRepository();
    this.#network.open(HOSTS.length);
    await this.#startEtcd();
    for (const host of HOSTS) await this.#startServer(host);
    for (const host of HOSTS) this.startAgent(host);
  }

  /** Resolves when every host enforces the first revision. @throws where that does not happen within a minute */
  async ready(): Promise<void> {
    for (let look = 1; look <= 120; look += 1) {
      const { status, stdout } = await this.ztap(1, "cluster", "status", "--json");
      if (status === 0 && (stdout.match(/"enforcedRevision": 1\b/g) ?? []).length === HOSTS.length) return;
      await delay(500);
    }
    throw new Error(`the hosts did not come up; ${this.folder}/agent-*.log say why`);
  }

  /** The store's URL, reachable from every host. */
  get store(): string {
    return `etcd://${HOSTS.map((host) => `${addressOf(host)}:2379`).join(",")}/${this.id}`;
  }

  /** Commits what `edit` makes of the shop's policies, and returns the commit's id. */
  push(subject: string, edit: (text: string) => string): string {
    const file = join(this.repository, "shop.yaml");
    writeFileSync(file, edit(readFileSync(file, "utf8")));
    this.#git("commit", "--quiet", "--all", `--message=${subject}`);
    return this.#git("rev-parse", "HEAD").trim();
  }

  /** Runs `ztap` on a host. */
  async ztap(host: Host, ...args: readonly string[]): Promise<Finished> {
    const [program, ...rest] = this.#network.enter(host);
    const child = spawn(program, [...rest, ZTAP, ...args], { env: this.#environment(host), stdio: ["ignore", "pipe", "pipe"] });
    const [stdout, stderr] = [collect(child.stdout), collect(child.stderr)];
    await once(child, "close");
    return { status: child.exitCode, stdout: stdout(), stderr: stderr() };
  }

  /** Connects from one host's workload to another's server; what the kernels of both say of it. */
  async connects(from: Host, to: Host, port: number): Promise<boolean> {
    const connect = `exec 3<>/dev/tcp/${addressOf(to)}/${port} && read -r line <&3 && test "$line" = hello`;
    const child = this.#spawnIn(from, ["timeout", "2", "bash", "-c", connect], "ignore");
    await once(child, "exit");
    return child.exitCode === 0;
  }

  startAgent(host: Host): void {
    const log = createWriteStream(join(this.folder, `agent-${host}.log`), { flags: "a" });
    const [program, ...args] = this.#network.enter(host);
    const child = spawn(program, [...args, ZTAP, "agent"], { stdio: ["ignore", "ignore", "pipe"], env: this.#environment(host) });
    child.stderr.pipe(log);
    this.#agents.set(host, child);
  }

  /** @param signal SIGKILL: without a word; SIGSTOP and SIGCONT do what they do */
  async signalAgent(host: Host, signal: NodeJS.Signals): Promise<void> {
    const child = this.#agents.get(host);
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const ended = once(child, "exit");
    child.kill(signal);
    if (signal !== "SIGSTOP" && signal !== "SIGCONT") await ended;
  }

  /** Unpins what keeps a host's programs attached, as a wrong hand would; returns how many there were. */
  damage(host: Host): number {
    const links = globSync(`/sys/fs/bpf/${this.id}/node-${host}/abi-*/links/*/*`);
    for (const link of links) rmSync(link);
    return links.length;
  }

  async killEtcd(host: Host): Promise<void> {
    await this.#etcd.get(host)?.kill();
  }

  async startEtcd(host: Host): Promise<void> {
    await this.#etcd.get(host)?.start();
  }

  /** Cuts a host, with its etcd member and its agent, off from the others. */
  cut(host: Host): void {
    this.#network.plug(host, false);
  }

  mend(host: Host): void {
    this.#network.plug(host, true);
  }

  agentLog(host: Host): string {
    return readFileSync(join(this.folder, `agent-${host}.log`), "utf8");
  }

  /** Takes everything away, in the order that leaves nothing behind. */
  async close(): Promise<void> {
    for (const host of HOSTS) await this.signalAgent(host, "SIGCONT");
    await Promise.all(HOSTS.map((host) => this.signalAgent(host, "SIGTERM")));
    await Promise.all([...this.#etcd.values()].map((member) => member.kill()));
    for (const server of this.#servers) {
      const ended = once(server, "exit");
      server.kill("SIGKILL");
      await ended;
    }
    for (const host of HOSTS) spawnSync(ZTAP, ["enforcement", "remove", "--auto-approve"], { env: this.#environment(host) });
    for (const path of this.#cgroups.splice(0).reverse()) rmdirSync(path);
    this.#network.close();
    rmSync(this.folder, { recursive: true, force: true });
  }

  #environment(host: Host): NodeJS.ProcessEnv {
    return {
      ...process.env,
      ZTAP_CONFIG: "/dev/null",
      ZTAP_NODE: `node-${host}`,
      ZTAP_ADDRESS: `${addressOf(host)}:9470`,
      ZTAP_LISTEN: `${addressOf(host)}:9470`,
      ZTAP_STORE: this.store,
      ZTAP_STATE_DIR: join(this.folder, `state-${host}`),
      ZTAP_PIN_ROOT: `/sys/fs/bpf/${this.id}`,
      ZTAP_SOURCE: this.repository,
      ZTAP_SOURCE_INTERVAL: "1s",
      ZTAP_CHECK_INTERVAL: "2s",
      ZTAP_HEARTBEAT_INTERVAL: "500ms",
      ZTAP_ELECTION_TIMEOUT: "3s",
      ZTAP_SESSION_TTL: "4s",
    };
  }

  async #prepareRepository(): Promise<void> {
    await cp(join(ROOT, "examples/cluster/policies"), this.repository, { recursive: true });
    for (const file of globSync(join(this.repository, "*.yaml")))
      writeFileSync(file, readFileSync(file, "utf8").replaceAll("ztap-cluster/", `${this.id}/`));
    this.#git("init", "--quiet", "--initial-branch=main");
    this.#git("add", ".");
    this.#git("commit", "--quiet", "--message=Each may talk to the next one");
  }

  #git(...args: readonly string[]): string {
    const author = ["-c", "user.name=Example", "-c", "user.email=example@example.com"];
    return execFileSync("git", ["-C", this.repository, ...author, ...args], { encoding: "utf8" });
  }

  async #startEtcd(): Promise<void> {
    for (const host of HOSTS) {
      const options = {
        name: `m${host}`,
        dataDir: join(this.folder, `etcd-${host}`),
        client: `${addressOf(host)}:2379`,
        peer: `${addressOf(host)}:2380`,
        scheme: "http" as const,
        peers: HOSTS.map((peer) => `m${peer}=http://${addressOf(peer)}:2380`),
        flags: [],
        wrapper: this.#network.enter(host),
      };
      this.#etcd.set(host, new EtcdProcess(options));
    }
    await Promise.all([...this.#etcd.values()].map((member) => member.start()));
  }

  async #startServer(host: Host): Promise<void> {
    const mount = /^\S+ \S+ \S+ \S+ (\S+) .* - cgroup2 /m.exec(readFileSync("/proc/self/mountinfo", "utf8"))?.[1];
    if (mount === undefined) throw new Error("no cgroup v2 file system is mounted");
    const parent = join(mount, this.id);
    for (const path of [parent, join(parent, WORKLOADS[host])]) {
      if (this.#cgroups.includes(path)) continue;
      mkdirSync(path);
      this.#cgroups.push(path);
    }
    const server = this.#spawnIn(host, [process.execPath, "-e", SERVER, addressOf(host)], "pipe");
    this.#servers.push(server);
    let output = "";
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject);
      server.once("exit", () => reject(new Error(`the server of host ${host} ended`)));
      server.stdout?.on("data", (chunk: Buffer) => {
        output += chunk.toString();
        if (output.trim().split("\n").length === PORTS.length) resolve();
      });
    });
    server.removeAllListeners("exit");
  }

  /** On the host, and in the cgroup of its workload. */
  #spawnIn(host: Host, command: readonly string[], stdout: "pipe" | "ignore"): ChildProcess {
    const cgroup = this.#cgroups.find((path) => path.endsWith(`/${WORKLOADS[host]}`)) ?? "";
    const enter = ["-c", 'echo $$ > "$0/cgroup.procs" && exec "$@"', cgroup, ...this.#network.enter(host), ...command];
    return spawn("sh", enter, { stdio: ["ignore", stdout, "ignore"] });
  }
}
