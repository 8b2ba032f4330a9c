/** Real keys that sign commits: made in a folder of the test's own, with no passphrase. */
import { execFileSync } from "node:child_process";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Repository } from "./repository.js";

function run(program: string, args: readonly string[], environment: Readonly<Record<string, string>> = {}): string {
  return execFileSync(program, args, {
    encoding: "utf8",
    stdio: ["ignore", "pipe", "pipe"],
    env: { ...process.env, ...environment },
  });
}

/** Why signatures of a kind cannot be made here; false where they can. */
export function cannotRun(...programs: readonly string[]): string | false {
  for (const program of programs) {
    try {
      run("/bin/sh", ["-c", `command -v ${program}`]);
    } catch {
      return `${program} is not installed`;
    }
  }
  return false;
}

export interface Signer {
  /** Options of git that make it sign with this key. */
  readonly options: readonly string[];
  readonly environment: Readonly<Record<string, string>>;
}

export interface SshSigner extends Signer {
  /** A line of an allowed_signers file. */
  allowed(principal?: string, options?: string): string;
}

export function makeSshKey(folder: string, name: string): SshSigner {
  const file = join(folder, name);
  run("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-C", name, "-f", file]);
  const publicKey = readFileSync(`${file}.pub`, "utf8").split(" ").slice(0, 2).join(" ");
  return {
    options: ["-c", "gpg.format=ssh", "-c", `user.signingKey=${file}.pub`],
    environment: {},
    allowed: (principal = `${name}@example.org`, options = "") =>
      `${principal} ${options === "" ? "" : `${options} `}${publicKey}\n`,
  };
}

export interface OpenPgpSigner extends Signer {
  /** The public key, as it is now. */
  exported(): string;
  revoke(): void;
  /** Ends gpg's agent, which would stay. */
  stop(): void;
}

/** @param madeAt the time that gpg believes in for all that it makes with this key, as `20250101T000000` */
export function makeOpenPgpKey(folder: string, name: string, expires = "never", madeAt?: string): OpenPgpSigner {
  const home = join(folder, `gnupg-${name}`);
  mkdirSync(home, { mode: 0o700 });
  // Frozen: a key that took a second to make would be one of the future for the next process.
  if (madeAt !== undefined) writeFileSync(join(home, "gpg.conf"), `faked-system-time ${madeAt}!\n`);
  const environment = { GNUPGHOME: home };
  const gpg = (args: readonly string[]): string => run("gpg", ["--batch", "--quiet", ...args], environment);
  const user = `${name} <${name}@example.org>`;
  gpg(["--passphrase", "", "--quick-generate-key", user, "ed25519", "sign", expires]);
  const fingerprint = /^fpr:+([0-9A-F]+):/m.exec(gpg(["--with-colons", "--list-keys"]))?.[1] ?? "";
  return {
    options: ["-c", "gpg.format=openpgp", "-c", `user.signingKey=${fingerprint}`],
    environment,
    exported: () => gpg(["--armor", "--export", fingerprint]),
    revoke() {
      // gpg writes a certificate for each key it makes, with a colon before it so that nobody imports it by mistake.
      const made = readFileSync(join(home, "openpgp-revocs.d", `${fingerprint}.rev`), "utf8");
      const file = join(home, "revocation.asc");
      writeFileSync(file, made.replace(":-----BEGIN", "-----BEGIN"));
      gpg(["--import", file]);
    },
    stop() {
      run("gpgconf", ["--kill", "all"], environment);
    },
  };
}

/** Commits everything that is there, signed; returns the commit's id. */
export function commitSigned(repo: Repository, signer: Signer, subject = "Change"): string {
  repo.git("add", "--all", "--force");
  repo.gitWith(signer.environment, ...signer.options, "commit", "--quiet", "--allow-empty", "-S", "-m", subject);
  return repo.git("rev-parse", "HEAD");
}
