/** Real Git repositories for tests: made in a folder of the test's own, independent of the user's configuration. */
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { deflateSync } from "node:zlib";

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

  /** Writes an object as it is, with git's help or against its will; returns its id. */
  object(type: "blob" | "tree" | "commit", body: Uint8Array): string {
    const bytes = Buffer.concat([Buffer.from(`${type} ${body.length}\0`), body]);
    const id = createHash("sha1").update(bytes).digest("hex");
    const folder = join(this.path, ".git", "objects", id.slice(0, 2));
    mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, id.slice(2)), deflateSync(bytes));
    return id;
  }

  /** Writes a tree of these entries, which are in git's order; returns its id. */
  tree(entries: readonly { readonly mode: string; readonly name: string; readonly id: string }[]): string {
    const parts = entries.map(({ mode, name, id }) =>
      Buffer.concat([Buffer.from(`${mode} ${name}\0`), Buffer.from(id, "hex")]),
    );
    return this.object("tree", Buffer.concat(parts));
  }

  /** Makes main a commit of this tree; returns the commit's id. */
  commitTree(tree: string): string {
    const commit = this.git("commit-tree", "-m", "Change", tree);
    this.git("update-ref", "refs/heads/main", commit);
    return commit;
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
