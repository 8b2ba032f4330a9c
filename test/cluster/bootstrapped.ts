/** Three members of etcd with the files that `ztap cluster bootstrap` has written, and nothing else. */
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { closeSync, openSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { Test } from "tap";
import { etcdProgram } from "../../examples/cluster/etcd.js";
import type { Ztap } from "../cli/ztap.js";
import { freePorts } from "../etcd/server.js";
import { waitUntil } from "../wait.js";

/** Where the settings say that a member's files are, on a host of its own. */
const MEMBER_FOLDER = "/etc/etcd/ztap";
const DATA_FOLDER = "/var/lib/etcd/ztap";

export const MEMBERS = ["m1", "m2", "m3"] as const;

export interface Written {
  readonly store: string;
  readonly applied: readonly string[] | null;
  readonly unlisted: readonly string[] | null;
  readonly files: readonly { readonly path: string; readonly outcome: string; readonly reason: string | null }[];
}

export const changedIn = ({ files }: Written) => files.filter(({ outcome }) => outcome !== "kept");

export class BootstrappedCluster {
  readonly dir: string;
  readonly #processes: ChildProcess[] = [];

  constructor(
    readonly ztap: Ztap,
    readonly t: Test,
  ) {
    this.dir = ztap.path("authority");
    t.teardown(() => this.stop());
  }

  /**
   * Writes cluster.yaml with members on free ports of loopback.
   * @param addressOf the YAML of a member's addresses
   */
  async writeFile(addressOf: (index: number) => string = () => "address: 127.0.0.1"): Promise<void> {
    const ports = await freePorts(2 * MEMBERS.length);
    const members = MEMBERS.map(
      (name, index) =>
        `  ${name}: { ${addressOf(index)}, clientPort: ${ports[2 * index]}, peerPort: ${ports[2 * index + 1]} }`,
    );
    this.ztap.write("authority/cluster.yaml", `# made by hand\nmembers:\n${members.join("\n")}\n`);
  }

  bootstrap(...args: readonly string[]) {
    return this.ztap.json(this.t, "cluster-bootstrap", ["cluster", "bootstrap", this.dir, ...args]);
  }

  read(path: string): string {
    return readFileSync(join(this.dir, path), "utf8");
  }

  /** Starts all members with their settings, as systemd would with `/etc/default/etcd`. */
  async start(): Promise<void> {
    for (const name of MEMBERS) {
      const log = this.ztap.path(`${name}.log`);
      const settings = this.read(`members/${name}/etcd.env`)
        .replaceAll(MEMBER_FOLDER, join(this.dir, "members", name))
        .replaceAll(DATA_FOLDER, this.ztap.path(`${name}.data`));
      const pairs = settings.split("\n").filter((line) => /^ETCD_/.test(line));
      const output = openSync(log, "w");
      const child = spawn(etcdProgram("etcd"), [], {
        env: Object.fromEntries(
          pairs.map((pair) => [pair.slice(0, pair.indexOf("=")), pair.slice(pair.indexOf("=") + 1)]),
        ),
        stdio: ["ignore", output, output],
      });
      closeSync(output);
      this.#processes.push(child);
    }
    for (const name of MEMBERS)
      await waitUntil(() => readFileSync(this.ztap.path(`${name}.log`), "utf8"), {
        is: (said) => /serving client traffic|ready to serve client requests/.test(said),
        what: `etcd's member ${name}`,
      });
  }

  async stop(): Promise<void> {
    for (const child of this.#processes.splice(0)) {
      if (child.exitCode !== null || child.signalCode !== null) continue;
      const ended = once(child, "exit");
      child.kill("SIGKILL");
      await ended;
    }
  }

  /** Settings of a client with a certificate of this cluster. */
  environment(store: string, folder: string, name: "node" | "operator"): Record<string, string> {
    return {
      ZTAP_STORE: store,
      ZTAP_ETCD_CA: join(folder, "ca.crt"),
      ZTAP_ETCD_CERT: join(folder, `${name}.crt`),
      ZTAP_ETCD_KEY: join(folder, `${name}.key`),
    };
  }
}
