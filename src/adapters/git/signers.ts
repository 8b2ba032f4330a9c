/**
 * Allowed signers: files on this machine's own disk that only their owner can change, copied into a folder that git,
 * gpg and ssh-keygen use instead of the user's and the machine's configuration.
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

/** Signatures cannot be checked at all, so that no commit counts as signed. */
export class SignersError extends Error {
  override readonly name = "SignersError";
}

/** The settings for git that decide how a signature is checked. */
export interface SignerConfig {
  readonly settings: readonly string[];
  readonly environment: Readonly<Record<string, string>>;
}

const MAX_FILE_BYTES = 4 * 1024 * 1024;
/** Programs come from these folders only: PATH may lead to another user's. */
const PROGRAM_FOLDERS = ["/usr/bin", "/usr/local/bin", "/opt/homebrew/bin"];
/** A program that cannot run: a signature of that kind is never valid. */
export const NO_PROGRAM = "/dev/null";
/** An older gpg never imports a key from a signature, and does not know the option. */
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
 * Calls `use` with the signer configuration.
 * @param folder for a temporary folder: ours, and writable by no other user
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
 * All keys of the file count equally, and no other key is ever fetched. The machine's gpg.conf is read before ours,
 * which overrides it.
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

/** Returns the bytes of a file that only root and we can have written, including its folders. */
async function readTrusted(path: string, location: Location): Promise<Buffer> {
  try {
    const real = await realpath(path);
    if (location.local && `${real}${sep}`.startsWith(`${await realpath(location.url)}${sep}`))
      throw new SignersError(`${path} is in the repository whose commits it verifies; keep it elsewhere`);
    for (const start of new Set([await realpath(dirname(path)), dirname(real)])) await refuseOpenFolders(start, path);
    const file = await open(real, "r");
    try {
      const { uid, mode, size } = await file.stat();
      if (size > MAX_FILE_BYTES) throw new SignersError(`${path} has more than ${MAX_FILE_BYTES} bytes`);
      refuseOthers(path, path, uid, mode);
      return await file.readFile();
    } finally {
      await file.close();
    }
  } catch (cause) {
    if (cause instanceof SignersError) throw cause;
    throw new SignersError(withReason(`the signers file ${path} cannot be read`, cause), { cause });
  }
}

async function refuseOpenFolders(folder: string, path: string): Promise<void> {
  const { uid, mode } = await stat(folder);
  // In a folder with the sticky bit, such as /tmp, others cannot remove or replace our files.
  refuseOthers(folder, path, uid, (mode & 0o1000) === 0 ? mode : 0);
  if (dirname(folder) !== folder) await refuseOpenFolders(dirname(folder), path);
}

function refuseOthers(what: string, path: string, uid: number, mode: number): void {
  const mend = `let root or the agent's user own it, and nobody else write to it (chmod go-w ${what})`;
  if (uid !== 0 && uid !== process.geteuid?.())
    throw new SignersError(
      `the signers file ${path} can be changed by others: ${what} belongs to user ${uid}; ${mend}`,
    );
  if ((mode & 0o022) !== 0)
    throw new SignersError(`the signers file ${path} can be changed by others: others may write to ${what}; ${mend}`);
}
