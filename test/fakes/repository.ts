/** Real Git repositories for tests: made in a folder of the test's own, independent of the user's configuration. */
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";

const IDENTITY = {
  GIT_AUTHOR_NAME: "Ada Lovelace",
  GIT_AUTHOR_EMAIL: "ada@example.org",
  GIT_COMMITTER_NAME: "Ada Lovelace",
  GIT_COMMITTER_EMAIL: "ada@example.org",
  GIT_CONFIG_GLOBAL: "/dev/null",
  GIT_CONFIG_SYSTEM: "/dev/null",
};

export class Repository {
  readonly path: string;

  /** Makes the repository; `bare` for one that is only pushed to. */
  constructor(path: string, { bare = false }: { readonly bare?: boolean } = {}) {
    this.path = path;
    mkdirSync(path, { recursive: true });
    this.git("init", "--quiet", "--initial-branch=main", ...(bare ? ["--bare"] : []));
  }

  git(...args: readonly string[]): string {
    return this.gitWith({}, ...args);
  }

  gitWith(environment: Readonly<Record<string, string>>, ...args: readonly string[]): string {
    return execFileSync("git", ["-c", "safe.directory=*", ...args], {
      cwd: this.path,
      env: { ...process.env, ...IDENTITY, ...environment },
      encoding: "utf8",
      stdio: ["ignore", "pipe", "pipe"],
    }).trim();
  }

  write(path: string, content: string | Uint8Array): void {
    const file = join(this.path, path);
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, content);
  }

  link(path: string, target: string): void {
    const file = join(this.path, path);
    mkdirSync(dirname(file), { recursive: true });
    symlinkSync(target, file);
  }

  remove(path: string): void {
    rmSync(join(this.path, path), { recursive: true });
  }

  /** Commits everything that is there; returns the commit's id. */
  commit(subject = "Change", ...options: readonly string[]): string {
    this.git("add", "--all", "--force");
    this.git("commit", "--quiet", "--allow-empty", "-m", subject, ...options);
    return this.git("rev-parse", "HEAD");
  }
}

/** A temporary folder for one test, removed with all that is in it, whatever becomes of the test. */
export async function inFolder(run: (folder: string) => Promise<void>): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), "ztap-git-"));
  try {
    await run(folder);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
