/** A real sshd, also in a cgroup and a network namespace, and sessions of a real ssh with it. */
import { execFileSync, spawn, type ChildProcess } from "node:child_process";
import { chmodSync, copyFileSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
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

interface Place {
  readonly address: string;
  /** Default: 22. */
  readonly port?: number;
  /** Default: the test's own. */
  readonly namespace?: string;
  /** The `cgroup.procs` of its cgroup. Default: the test's own. */
  readonly procs?: string;
  /** Another program listens, and starts an sshd for each connection, as systemd does. */
  readonly activated?: true;
}

/** A user of the servers beside root, without any right. */
export const USER = "ztap-user";

const ACTIVATE = `
  use Socket;
  ($address, $port, $log, @sshd) = @ARGV;
  $SIG{CHLD} = "IGNORE";
  socket(L, PF_INET, SOCK_STREAM, 0) && setsockopt(L, SOL_SOCKET, SO_REUSEADDR, 1) or die;
  bind(L, pack_sockaddr_in($port, inet_aton($address))) && listen(L, 8) or die;
  open(LOG, ">>", $log) && print(LOG "Server listening\n") && close(LOG) or die;
  while (accept(C, L)) {
    if (fork() == 0) { open(STDIN, "<&C"); open(STDOUT, ">&C"); exec(@sshd) }
    close(C);
  }`;

export class SshServer {
  readonly #folder = mkdtempSync(join(tmpdir(), `ztap-ssh-${process.pid}-`));
  readonly #children: ChildProcess[] = [];

  constructor(
    t: Test,
    private readonly place: Place,
  ) {
    const { address, port = 22, namespace, procs = "/dev/null", activated } = place;
    const file = (name: string): string => join(this.#folder, name);
    t.teardown(async () => {
      for (const child of this.#children) await end(child);
      rmSync(this.#folder, { recursive: true, force: true });
    });
    for (const name of ["host", "user"])
      execFileSync("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-f", file(name)]);
    copyFileSync(file("user.pub"), file("authorized"));
    // sshd reads it as the user who logs in.
    chmodSync(this.#folder, 0o711);
    chmodSync(file("authorized"), 0o644);
    const settings = [
      `ListenAddress ${address}:${port}`,
      `HostKey ${file("host")}`,
      `AuthorizedKeysFile ${file("authorized")}`,
      "StrictModes no",
      "UsePAM no",
      "PidFile none",
    ];
    writeFileSync(file("sshd_config"), settings.join("\n"));
    writeFileSync(file("log"), "");
    // sshd wants a user and a folder of its own; both exist in its mount namespace only.
    const users = `sshd:x:71:65534::/run/sshd:/usr/sbin/nologin\n${USER}:x:64711:65534::/:/bin/sh\n`;
    writeFileSync(file("passwd"), readFileSync("/etc/passwd", "utf8").replace(/^sshd:.*\n/m, "") + users);
    const serve = ["-E", file("log"), "-f", file("sshd_config")];
    const program = join(UNPACKED, "usr/sbin/sshd");
    const command =
      activated === true
        ? ["perl", "-e", ACTIVATE, address, String(port), file("log"), program, "-i", ...serve]
        : [program, "-D", ...serve];
    const script = `echo $$ > "$1" && mount --bind "$2/passwd" /etc/passwd && mount -t tmpfs none /run && mkdir /run/sshd &&
      shift 2 && exec "$@"`;
    const inside = ["--mount", "sh", "-c", script, "sh", procs, this.#folder, ...command];
    const enter = namespace === undefined ? [] : ["nsenter", `--net=/run/netns/${namespace}`, "--"];
    const [first = "", ...args] = [...enter, "unshare", ...inside];
    this.#children.push(
      spawn(first, args, {
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

  /** Ends the process that listens. Its sessions go on. */
  async stopListening(): Promise<void> {
    const [listener] = this.#children;
    if (listener !== undefined) await end(listener);
  }

  /** @param namespace default: the test's own */
  login(namespace?: string, user = "root"): SshSession {
    const options = ["StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "BatchMode=yes"];
    const enter = namespace === undefined ? [] : ["ip", "netns", "exec", namespace];
    const [first = "", ...args] = [
      ...[...enter, "ssh", "-i", join(this.#folder, "user"), "-E", join(this.#folder, "ssh.log")],
      ...options.flatMap((option) => ["-o", option]),
      ...["-p", String(this.place.port ?? 22), `${user}@${this.place.address}`, "cat"],
    ];
    const child = spawn(first, args, { stdio: ["pipe", "pipe", "inherit"] });
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
