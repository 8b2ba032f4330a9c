/** Hosts for the example: network namespaces on one switch, which is a namespace too; nothing of the machine's own network is touched. */
import { execFileSync } from "node:child_process";

export class Network {
  readonly #prefix: string;
  readonly #made: string[] = [];

  /** @param prefix of the names of everything that is made */
  constructor(prefix: string) {
    this.#prefix = prefix;
  }

  /** @param count hosts, with the addresses 10.77.0.1, .2, … */
  open(count: number): void {
    const sw = this.#namespace("switch");
    ip("-n", sw, "link", "add", "br0", "type", "bridge");
    ip("-n", sw, "link", "set", "br0", "up");
    for (let host = 1; host <= count; host += 1) {
      const name = this.#namespace(String(host));
      ip("-n", name, "link", "set", "lo", "up");
      ip("-n", name, "link", "add", "eth0", "type", "veth", "peer", "name", `port${host}`, "netns", sw);
      ip("-n", name, "address", "add", `${addressOf(host)}/24`, "dev", "eth0");
      ip("-n", name, "link", "set", "eth0", "up");
      ip("-n", sw, "link", "set", `port${host}`, "master", "br0");
      ip("-n", sw, "link", "set", `port${host}`, "up");
    }
  }

  /** Pulls a host's cable, or puts it back. */
  plug(host: number, isPlugged: boolean): void {
    ip("-n", `${this.#prefix}-switch`, "link", "set", `port${host}`, isPlugged ? "up" : "down");
  }

  /** What a program is started with to run on a host. Unlike `ip netns exec` it leaves /sys alone. */
  enter(host: number): readonly [program: string, ...args: string[]] {
    return ["nsenter", `--net=/run/netns/${this.#prefix}-${host}`, "--"];
  }

  close(): void {
    for (const name of this.#made.splice(0).reverse()) ip("netns", "del", name);
  }

  #namespace(suffix: string): string {
    const name = `${this.#prefix}-${suffix}`;
    ip("netns", "add", name);
    this.#made.push(name);
    return name;
  }
}

export function addressOf(host: number): string {
  return `10.77.0.${host}`;
}

function ip(...args: readonly string[]): void {
  execFileSync("ip", args, { stdio: ["ignore", "ignore", "inherit"] });
}
