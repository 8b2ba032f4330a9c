/** Repositories whose few bytes make trees of any size: reading stops at a limit, and says which. */
import { execFileSync } from "node:child_process";
import { join } from "node:path";
import t, { type Test } from "tap";
import { DEFAULT_LIMITS } from "../../src/adapters/git/limits.js";
import { GitSource } from "../../src/adapters/git/source.js";
import { inFolder, Repository } from "../fakes/repository.js";

const FILE = "100644";
const LINK = "120000";
const FOLDER = "40000";
const EMPTY_TREE = "4b825dc642cb6eb9a060e54bf8d69288fbee4904";

/** Runs a test with a repository and a source of it. */
function withRepository(title: string, run: (t: Test, repo: Repository, source: GitSource) => Promise<void>): void {
  void t.test(title, (t) =>
    inFolder(async (folder) => {
      const repo = new Repository(join(folder, "repo"));
      await run(t, repo, new GitSource({ location: repo.path, cacheDir: join(folder, "cache") }));
    }),
  );
}

/** Wraps a tree in trees whose ten entries are all the one before it. */
function multiply(repo: Repository, tree: string, times: number): string {
  const names = Array.from({ length: 10 }, (_, index) => `d${index}`);
  return Array.from({ length: times }).reduce<string>(
    (id) => repo.tree(names.map((name) => ({ mode: FOLDER, name, id }))),
    tree,
  );
}

const sizeOf = (repo: Repository): number =>
  Number(
    execFileSync("sh", ["-c", "find .git/objects -type f -exec cat {} + | wc -c"], {
      cwd: repo.path,
      encoding: "utf8",
    }),
  );

withRepository("a tree of 100,000,000,000 files in less than 2,000 bytes", async (t, repo, source) => {
  const id = repo.object("blob", Buffer.from("a: 1\n"));
  repo.commitTree(multiply(repo, repo.tree([{ mode: FILE, name: "a.yaml", id }]), 11));
  t.ok(sizeOf(repo) < 2_000, `${sizeOf(repo)} bytes`);
  await t.rejects(source.fetch(), { code: "too-large", message: "the source holds more than 20000 policy files" });
});

withRepository("a tree of 100,000,000,000 other files", async (t, repo, source) => {
  const id = repo.object("blob", Buffer.from("a: 1\n"));
  repo.commitTree(multiply(repo, repo.tree([{ mode: FILE, name: "a", id }]), 11));
  await t.rejects(source.fetch(), {
    code: "too-large",
    message: "the source holds more than 200000 files and folders",
  });
});

withRepository("a tree of 100,000,000,000 empty folders", async (t, repo, source) => {
  repo.object("tree", Buffer.from(""));
  repo.commitTree(multiply(repo, EMPTY_TREE, 11));
  await t.rejects(source.fetch(), {
    code: "too-large",
    message: "the source holds more than 200000 files and folders",
  });
});

withRepository("links and submodules count as files", async (t, repo, source) => {
  const id = repo.object("blob", Buffer.from("nowhere"));
  const links = Array.from({ length: 20_001 }, (_, index) => ({
    mode: LINK,
    name: `${String(index).padStart(5, "0")}.yaml`,
    id,
  }));
  repo.commitTree(repo.tree(links));
  await t.rejects(source.fetch(), { code: "too-large", message: "the source holds more than 20000 policy files" });
  repo.commitTree(repo.tree(links.slice(1)));
  t.equal((await source.fetch()).skipped?.length, 20_000);
});

withRepository("folders nested as deep as the limit, and deeper", async (t, repo, source) => {
  const id = repo.object("blob", Buffer.from("a: 1\n"));
  const nested = (depth: number): string =>
    Array.from({ length: depth }).reduce<string>(
      (tree) => repo.tree([{ mode: FOLDER, name: "d", id: tree }]),
      repo.tree([{ mode: FILE, name: "a.yaml", id }]),
    );
  repo.commitTree(nested(DEFAULT_LIMITS.folderDepth));
  t.equal((await source.fetch()).files.length, 1);
  repo.commitTree(nested(DEFAULT_LIMITS.folderDepth + 1));
  await t.rejects(source.fetch(), { code: "too-large", message: "the source has folders nested more than 64 deep" });
});

withRepository("a path that no file system holds", async (t, repo, source) => {
  const id = repo.object("blob", Buffer.from("a: 1\n"));
  repo.commitTree(repo.tree([{ mode: FILE, name: `${"a".repeat(5_000)}.yaml`, id }]));
  await t.rejects(source.fetch(), { code: "too-large", message: "the source has a path of more than 4096 bytes" });
});

withRepository("a commit's author and subject of many megabytes", async (t, repo, source) => {
  const id = repo.object("blob", Buffer.from("a: 1\n"));
  const identity = `${"n".repeat(5_000_000)} <${"a".repeat(5_000_000)}> 1700000000 +0000`;
  const tree = repo.tree([{ mode: FILE, name: "a.yaml", id }]);
  const text = `tree ${tree}\nauthor ${identity}\ncommitter ${identity}\n\n${"s".repeat(5_000_000)}\n`;
  repo.git("update-ref", "refs/heads/main", repo.object("commit", Buffer.from(text)));
  const { author, subject } = (await source.fetch()).source;
  t.match(author, /^n{998}\.\. <a{998}\.\.>$/);
  t.match(subject, /^s{998}\.\.$/);
});

withRepository("entries outside the source path do not count", async (t, repo) => {
  const id = repo.object("blob", Buffer.from("a: 1\n"));
  const good = repo.tree([{ mode: FILE, name: "a.yaml", id }]);
  const bomb = multiply(repo, good, 11);
  repo.commitTree(
    repo.tree([
      { mode: FOLDER, name: "bomb", id: bomb },
      { mode: FOLDER, name: "good", id: good },
    ]),
  );
  const source = new GitSource({ location: repo.path, path: "good", cacheDir: join(repo.path, "..", "cache") });
  t.equal((await source.fetch()).files.length, 1);
});
