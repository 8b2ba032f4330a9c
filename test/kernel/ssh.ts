/** A real sshd in a cgroup and a network namespace, and sessions of a real ssh with it. */
import { execFileSync, spawn, type ChildProcess } from "node:child_process";
import { copyFileSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import type { Test } from "tap";
import { waitUntil } from "../wait.js";

const UNPACKED = resolve(".sshd");
const LIBRARIES = ["lib/x86_64-linux-gnu", "usr/lib/x86_64-linux-gnu"].map((path) => join(UNPACKED, path)).join(":");

/** Returns the reason why there is no sshd; null if there is one. */
export function whyNoSshd(): string | null {
  return existsSync(join(UNPACKED, "usr/sbin/sshd")) ? null : "needs sshd: on Debian `npm test` brings it";
}

/** A session whose remote command returns each text. */
export class SshSession {
  #received = "";
  #sent = "";

  constructor(
    private readonly child: ChildProcess,
    private readonly folder: string,
  ) {
    child.stdout?.on("data", (data: Buffer) => (this.#received += data.toString()));
    child.stdin?.on("error", () => undefined);
  }

  get received(): string {
    return this.#received;
  }

  send(text: string): void {
    this.#sent += text;
    this.child.stdin?.write(text);
  }

  /** Sends a text, and waits until everything that was sent has come back. */
  async answers(text: string): Promise<void> {
    this.send(text);
    await waitUntil(() => this.#received === this.#sent, {
      what: `the answer to ${text}; ssh says ${readFileSync(join(this.folder, "ssh.log"), "utf8")}`,
    });
  }
}

export class SshServer {
  readonly #folder = mkdtempSync(join(tmpdir(), `ztap-ssh-${process.pid}-`));
  readonly #children: ChildProcess[] = [];

  /** @param procs the cgroup's `cgroup.procs` */
  constructor(
    t: Test,
    private readonly place: { readonly procs: string; readonly namespace: string; readonly address: string },
  ) {
    const file = (name: string): string => join(this.#folder, name);
    t.teardown(async () => {
      for (const child of this.#children) await end(child);
      rmSync(this.#folder, { recursive: true, force: true });
    });
    for (const name of ["host", "user"])
      execFileSync("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-f", file(name)]);
    copyFileSync(file("user.pub"), file("authorized"));
    const settings = [
      `ListenAddress ${place.address}:22`,
      `HostKey ${file("host")}`,
      `AuthorizedKeysFile ${file("authorized")}`,
      "StrictModes no",
      "UsePAM no",
      "PidFile none",
    ];
    writeFileSync(file("sshd_config"), settings.join("\n"));
    writeFileSync(file("log"), "");
    // sshd wants a user and a folder of its own; both exist in its mount namespace only.
    const user = "sshd:x:71:65534::/run/sshd:/usr/sbin/nologin\n";
    writeFileSync(file("passwd"), readFileSync("/etc/passwd", "utf8").replace(/^sshd:.*\n/m, "") + user);
    const script = `echo $$ > "$1" && mount --bind "$2/passwd" /etc/passwd && mount -t tmpfs none /run && mkdir /run/sshd &&
      exec "$3" -D -E "$2/log" -f "$2/sshd_config"`;
    const inside = ["unshare", "--mount", "sh", "-c", script, "sh", place.procs, this.#folder];
    this.#children.push(
      spawn("nsenter", [`--net=/run/netns/${place.namespace}`, "--", ...inside, join(UNPACKED, "usr/sbin/sshd")], {
        env: { ...process.env, LD_LIBRARY_PATH: LIBRARIES },
        stdio: ["ignore", "inherit", "inherit"],
      }),
    );
  }

  /** Resolves when it listens. */
  async ready(): Promise<void> {
    await waitUntil(() => readFileSync(join(this.#folder, "log"), "utf8").includes("Server listening"), {
      what: "sshd",
    });
  }

  login(namespace: string): SshSession {
    const options = ["StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "BatchMode=yes"];
    const child = spawn(
      "ip",
      [
        ...["netns", "exec", namespace, "ssh", "-i", join(this.#folder, "user"), "-E", join(this.#folder, "ssh.log")],
        ...options.flatMap((option) => ["-o", option]),
        ...[`root@${this.place.address}`, "cat"],
      ],
      { stdio: ["pipe", "pipe", "inherit"] },
    );
    writeFileSync(join(this.#folder, "ssh.log"), "");
    this.#children.push(child);
    return new SshSession(child, this.#folder);
  }
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const gone = new Promise((resolve) => child.once("exit", resolve));
  child.kill("SIGTERM");
  await gone;
}
