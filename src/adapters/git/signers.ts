/**
 * Who may sign: files of this machine's own disk, that nobody but their owner can change, copied into a folder that
 * git, gpg and ssh-keygen are given in place of the user's and the machine's configuration.
 */
import { execFile } from "node:child_process";
import { constants } from "node:fs";
import { access, mkdtemp, open, realpath, rm, stat, writeFile } from "node:fs/promises";
import { dirname, join, sep } from "node:path";
import { promisify } from "node:util";
import { withReason } from "../../model/system-error.js";
import type { Location } from "./location.js";

export interface SignerOptions {
  /** File of allowed SSH keys, as ssh-keygen(1) describes under ALLOWED SIGNERS; null for none. */
  readonly sshSigners: string | null;
  /** File of allowed OpenPGP public keys, armored or not; null for none. */
  readonly openpgpKeys: string | null;
  /** Commits up to this one need no signature, full id; null: see `verifyCommits`. */
  readonly since: string | null;
}

/** Signatures cannot be checked at all, and so nothing counts as signed. */
export class SignersError extends Error {
  override readonly name = "SignersError";
}

/** What git is told; every setting that says how a signature is checked. */
export interface SignerConfig {
  readonly settings: readonly string[];
  readonly environment: Readonly<Record<string, string>>;
}

const MAX_FILE_BYTES = 4 * 1024 * 1024;
/** A program that PATH leads to may be anybody's. */
const PROGRAM_FOLDERS = ["/usr/bin", "/usr/local/bin", "/opt/homebrew/bin"];
/** Cannot be run: a signature of that kind is never good. */
export const NO_PROGRAM = "/dev/null";
/** An older gpg imports no key that a signature brings along, and does not know the option. */
const GPG_CONF = [
  "ignore-invalid-option no-auto-key-import",
  "no-auto-key-import",
  "no-auto-key-retrieve",
  "disable-dirmngr",
  "no-autostart",
  "trust-model always",
  "",
].join("\n");
const IMPORT_MS = 60_000;

/**
 * @param folder where a temporary folder may be made: ours, and nobody else's
 * @throws SignersError
 */
export async function withSigners<T>(
  { sshSigners, openpgpKeys }: SignerOptions,
  location: Location,
  folder: string,
  use: (config: SignerConfig) => Promise<T>,
): Promise<T> {
  const home = await mkdtemp(join(folder, ".signers-"));
  try {
    const ssh = sshSigners === null ? null : await readTrusted(sshSigners, location);
    const keys = openpgpKeys === null ? null : await readTrusted(openpgpKeys, location);
    const allowed = join(home, "allowed_signers");
    await writeFile(allowed, ssh ?? "", { mode: 0o600 });
    const keygen = ssh === null ? NO_PROGRAM : await findProgram("ssh-keygen");
    const gpg = keys === null ? NO_PROGRAM : await findProgram("gpg");
    if (keys !== null) await makeKeyring(gpg, home, keys);
    return await use({
      settings: [
        `gpg.ssh.program=${keygen}`,
        `gpg.ssh.allowedSignersFile=${allowed}`,
        `gpg.program=${gpg}`,
        `gpg.openpgp.program=${gpg}`,
        `gpg.x509.program=${NO_PROGRAM}`,
        "gpg.minTrustLevel=fully",
      ],
      environment: { GIT_CONFIG_NOSYSTEM: "1", GIT_CONFIG_SYSTEM: "/dev/null", GNUPGHOME: home },
    });
  } finally {
    await rm(home, { recursive: true, force: true });
  }
}

/**
 * All keys of the file are as good as each other, and no other key is ever fetched. The machine's gpg.conf is read
 * before ours, which has the last word.
 */
async function makeKeyring(gpg: string, home: string, keys: Buffer): Promise<void> {
  const file = join(home, "keys");
  await writeFile(file, keys, { mode: 0o600 });
  await writeFile(join(home, "gpg.conf"), GPG_CONF, { mode: 0o600 });
  await promisify(execFile)(gpg, ["--batch", "--quiet", "--import", file], {
    env: { PATH: "/usr/bin:/bin", LC_ALL: "C", GNUPGHOME: home },
    timeout: IMPORT_MS,
  }).catch((cause: unknown) => {
    throw new SignersError("the OpenPGP keys of source.verify.openpgpKeys cannot be read by gpg", { cause });
  });
}

async function findProgram(name: string): Promise<string> {
  for (const folder of PROGRAM_FOLDERS) {
    const path = join(folder, name);
    const isThere = await access(path, constants.X_OK).then(
      () => true,
      () => false,
    );
    if (isThere) return path;
  }
  throw new SignersError(
    `${name} is in none of ${PROGRAM_FOLDERS.join(", ")}; install it (Debian: openssh-client, gpg)`,
  );
}

/** The bytes of a file that only root and we can have written, also by way of its folders. */
async function readTrusted(path: string, location: Location): Promise<Buffer> {
  try {
    const real = await realpath(path);
    if (location.local && `${real}${sep}`.startsWith(`${await realpath(location.url)}${sep}`))
      throw new SignersError(`${path} lies in the repository whose commits it is to judge; keep it elsewhere`);
    for (const start of new Set([await realpath(dirname(path)), dirname(real)])) await refuseOpenFolders(start, path);
    const file = await open(real, "r");
    try {
      const { uid, mode, size } = await file.stat();
      if (size > MAX_FILE_BYTES) throw new SignersError(`${path} is longer than ${MAX_FILE_BYTES} bytes`);
      refuseOthers(path, path, uid, mode);
      return await file.readFile();
    } finally {
      await file.close();
    }
  } catch (cause) {
    if (cause instanceof SignersError) throw cause;
    throw new SignersError(withReason(`${path}, which says who may sign, cannot be read`, cause), { cause });
  }
}

async function refuseOpenFolders(folder: string, path: string): Promise<void> {
  const { uid, mode } = await stat(folder);
  // Of a folder with the sticky bit, as /tmp, others cannot take away or replace what is ours.
  refuseOthers(folder, path, uid, (mode & 0o1000) === 0 ? mode : 0);
  if (dirname(folder) !== folder) await refuseOpenFolders(dirname(folder), path);
}

function refuseOthers(what: string, path: string, uid: number, mode: number): void {
  const mend = `make it root's, or the agent's user's, and writable by nobody else (chmod go-w ${what})`;
  if (uid !== 0 && uid !== process.geteuid?.())
    throw new SignersError(
      `${path}, which says who may sign, can be changed by others: ${what} is user ${uid}'s; ${mend}`,
    );
  if ((mode & 0o022) !== 0)
    throw new SignersError(
      `${path}, which says who may sign, can be changed by others: others may write to ${what}; ${mend}`,
    );
}
