/**
 * Runs git, by simple-git, in an environment of our own: no prompt, no hook, no pager, no repository from an inherited
 * variable, no transport except the three that are allowed. git's output is shown without credentials. Commands that
 * talk to a remote are in remote.ts.
 */
import { existsSync } from "node:fs";
import { homedir } from "node:os";
import { dirname, isAbsolute, resolve } from "node:path";
import { simpleGit, type SimpleGit } from "simple-git";
import { SourceError, type SourceErrorCode } from "../../interfaces/source.js";
import { writableByOthers } from "../system/ownership.js";

/** How long a command that reads a repository on disk may be silent. */
const SILENCE_MS = 60_000;

/** An empty configuration. */
const NO_CONFIG = "/dev/null";

/** git's variables that say how this user reaches remotes; every other `GIT_…` is removed. */
const KEPT = [
  "GIT_SSH",
  "GIT_SSH_COMMAND",
  "GIT_SSL_CAINFO",
  "GIT_SSL_CAPATH",
  "GIT_CONFIG_GLOBAL",
  "GIT_CONFIG_SYSTEM",
  "GIT_CONFIG_NOSYSTEM",
  "GIT_ASKPASS",
];
const SET = [
  "GIT_TERMINAL_PROMPT",
  "GIT_ALLOW_PROTOCOL",
  "GIT_NO_LAZY_FETCH",
  "GIT_NO_REPLACE_OBJECTS",
  "GIT_OPTIONAL_LOCKS",
  "GIT_LITERAL_PATHSPECS",
  "GIT_CEILING_DIRECTORIES",
  "SSH_ASKPASS",
];
const TAKEN = new Set(["EDITOR", "VISUAL", "PAGER", "PREFIX", "LANGUAGE", "LC_ALL", "SSH_ASKPASS"]);

/**
 * https, ssh and local paths. Not http and git, which anyone on the network path can change, nor ext, which runs
 * commands.
 */
export const ALLOWED_PROTOCOLS = ["https", "ssh", "file"] as const;

export interface GitOptions {
  /** Folder to run in; it exists. */
  readonly folder: string;
  /** How long a remote may be silent. */
  readonly silenceMs?: number;
  /** Ends a command that talks to a remote. */
  readonly signal?: AbortSignal;
  /** Replaces the user's configuration file; see `globalConfigText`. */
  readonly globalConfig?: string;
  /**
   * Makes git read this folder's repository even if another user owns it. Only for commands that run no program from
   * its configuration.
   */
  readonly trustOwner?: boolean;
  /** The folder itself is the repository, or there is none: git does not look for one above it. */
  readonly alone?: boolean;
  /** File with a user and a password, in the format of `git credential-store`. */
  readonly credentialFile?: string;
  /** Input of `cat-file --batch`. */
  readonly input?: string;
}

export function git(options: GitOptions): SimpleGit {
  const { folder, input } = options;
  // simple-git checks this itself, and would throw an error of its own.
  if (!existsSync(folder)) throw new SourceError("git-failed", `the folder ${folder} is gone`);
  return simpleGit({
    baseDir: folder,
    config: [...settings(options)],
    timeout: { block: SILENCE_MS },
    allowEnvironment: [...KEPT, ...SET],
    // simple-git guards against settings from outside. These are fixed above, or are the user's own.
    unsafe: {
      allowUnsafeSshCommand: true,
      allowUnsafeAskPass: true,
      allowUnsafeConfigPaths: true,
      allowUnsafeHooksPath: true,
      allowUnsafeFsMonitor: true,
      allowUnsafeCredentialHelper: true,
      allowUnsafeTemplateDir: true,
    },
    ...(input === undefined ? {} : { input: () => input }),
  }).env(environment(options));
}

/** Returns the same settings for a git that is started without simple-git. */
export function configArguments(options: GitOptions): readonly string[] {
  return settings(options).flatMap((setting) => ["-c", setting]);
}

function settings({ trustOwner = false, credentialFile }: GitOptions): readonly string[] {
  return [
    "core.fsmonitor=false",
    "core.hooksPath=/dev/null",
    "core.quotePath=false",
    ...(trustOwner ? ["safe.directory=*"] : []),
    ...(credentialFile === undefined ? [] : [`credential.helper=store --file=${shellQuoted(credentialFile)}`]),
  ];
}

/**
 * Returns the environment.
 * @throws SourceError `git-failed` if a variable names another user's configuration
 */
export function environment({
  folder,
  globalConfig,
  alone = false,
  trustOwner = false,
}: GitOptions): Record<string, string> {
  refuseForeignConfig(folder);
  const kept = new Set(KEPT);
  const inherited = Object.entries(process.env).filter(
    ([name]) => kept.has(name) || !(name.startsWith("GIT_") || TAKEN.has(name)),
  );
  return {
    ...Object.fromEntries(inherited.map(([name, value]) => [name, value ?? ""])),
    LC_ALL: "C",
    GIT_TERMINAL_PROMPT: "0",
    // A repository that may be another user's is only read: a remote that it configures is not contacted.
    GIT_ALLOW_PROTOCOL: trustOwner ? "none" : ALLOWED_PROTOCOLS.join(":"),
    // A missing object is an error, never a reason to run a remote that a repository configures.
    GIT_NO_LAZY_FETCH: "1",
    GIT_NO_REPLACE_OBJECTS: "1",
    GIT_OPTIONAL_LOCKS: "0",
    GIT_LITERAL_PATHSPECS: "1",
    // ssh calls this program instead of asking on the terminal, and it has no answer.
    SSH_ASKPASS: process.env["SSH_ASKPASS"] ?? "false",
    SSH_ASKPASS_REQUIRE: process.env["SSH_ASKPASS_REQUIRE"] ?? "force",
    ...(alone ? { GIT_CEILING_DIRECTORIES: dirname(folder) } : {}),
    ...(globalConfig === undefined ? ownConfig() : { GIT_CONFIG_GLOBAL: globalConfig }),
  };
}

/**
 * Returns the configuration to use. git's configuration names programs to run: root uses none that another user can
 * write, be it that user's home (as `sudo -E` leaves it), a file in root's, or a home that anyone can put files in.
 */
function ownConfig(): { readonly GIT_CONFIG_GLOBAL?: string } {
  const isDoubtful = process.env["GIT_CONFIG_GLOBAL"] === undefined && isRoot() && userConfigs().some(isOthers);
  return isDoubtful ? { GIT_CONFIG_GLOBAL: NO_CONFIG } : {};
}

/**
 * Refuses files of others in variables: they were named explicitly, so that they are not skipped silently.
 * @throws SourceError `git-failed`
 */
function refuseForeignConfig(folder: string): void {
  for (const name of ["GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM"]) {
    const file = process.env[name] ?? "";
    if (file === "" || file === NO_CONFIG || !isRoot()) continue;
    const why = writableByOthers(resolve(folder, file), 0);
    if (why !== null)
      throw new SourceError(
        "git-failed",
        `${name} names ${file}, and ${why}: git would run another user's commands as root; unset ${name}, or name a file of root's own (or ${NO_CONFIG})`,
      );
  }
}

function isRoot(): boolean {
  return process.geteuid?.() === 0;
}

/** Returns the files where git looks for the user's configuration. */
function userConfigs(): readonly string[] {
  const home = homeOrNull() ?? "";
  return [`${process.env["XDG_CONFIG_HOME"] || `${home}/.config`}/git/config`, `${home}/.gitconfig`];
}

/** Returns null for a user without an entry in the password file, and without HOME. */
function homeOrNull(): string | null {
  try {
    return homedir();
  } catch {
    return null;
  }
}

function isOthers(file: string): boolean {
  return !isAbsolute(file) || writableByOthers(file, 0) !== null;
}

function shellQuoted(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

/**
 * Returns a configuration file that includes the user's own and lets git serve a local repository of another user. The
 * process that serves it reads this setting from the global file only.
 */
export function globalConfigText(): string {
  const own = process.env["GIT_CONFIG_GLOBAL"] ?? ownConfig().GIT_CONFIG_GLOBAL;
  const files = own === undefined ? userConfigs() : [own];
  return ["[safe]", "\tdirectory = *", "[include]", ...files.map((file) => `\tpath = ${configValue(file)}`), ""].join(
    "\n",
  );
}

/** Quotes a value as git's configuration files do. */
function configValue(text: string): string {
  return `"${text.replace(/[\\"]/g, "\\$&").replaceAll("\n", "\\n")}"`;
}

/** Removes the credentials from every URL in the text. */
export function withoutCredentials(text: string): string {
  return text.replace(/([a-z][a-z0-9+.-]{0,30}:\/\/)[^/?#\s'"]*@/gi, (whole, scheme: string) =>
    scheme.toLowerCase() === "ssh://" && !whole.slice(scheme.length).includes(":") ? whole : `${scheme}***@`,
  );
}

const GIT_MISSING = "git is not found in PATH: install git 2.30 or newer";

/**
 * Turns a failure of git into a SourceError. git's exit status is 128 for nearly everything, so that only its text, in
 * the C locale, distinguishes the reasons; no other place parses it.
 */
export function gitFailure(error: unknown, doing: string, otherwise: SourceErrorCode): SourceError {
  if (error instanceof SourceError) return error;
  const text = withoutCredentials(error instanceof Error ? error.message : String(error));
  const reason = reasonOf(text, otherwise);
  if (reason === "git-missing") return new SourceError(reason, GIT_MISSING);
  const lines = text.split("\n").map((line) => line.trim());
  const said =
    lines.find((line) => /^(fatal|error|ssh):/i.test(line)) ??
    lines.findLast((line) => line !== "") ??
    "no reason given";
  // The cause is omitted on purpose: its text and its stack contain the credentials that were masked above.
  return new SourceError(reason, `${doing}: ${said.slice(0, 400)}`);
}

function reasonOf(text: string, otherwise: SourceErrorCode): SourceErrorCode {
  if (/spawn git ENOENT|ENOENT.{0,200}\bgit\b/.test(text)) return "git-missing";
  if (
    /authentication failed|permission denied|could not read (username|password)|host key verification failed|access denied|returned error: 40[13]/i.test(
      text,
    )
  ) {
    return "source-denied";
  }
  if (
    /does not appear to be a git repository|^(?=.*repository )(?=.*not found)|returned error: 404|does not exist/im.test(
      text,
    )
  )
    return "source-not-found";
  if (
    /could not resolve host|connection (refused|timed out|reset)|timeout reached|abort signal|unable to access|could not connect|network is unreachable/i.test(
      text,
    )
  ) {
    return "source-unreachable";
  }
  return otherwise;
}

/**
 * Returns git's version.
 * @throws SourceError `git-missing`
 */
export async function gitVersion(): Promise<string> {
  const text = await git({ folder: "/", alone: true })
    .raw(["--version"])
    .catch((error: unknown) => {
      throw gitFailure(error, "asking git for its version", "git-failed");
    });
  return text.trim().replace(/^git version /, "");
}
