import { execFileSync, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { chmodSync, existsSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t, { type Test } from "tap";
import { DEFAULT_LIMITS } from "../../src/adapters/git/limits.js";
import { GitSource } from "../../src/adapters/git/source.js";
import type { Snapshot } from "../../src/interfaces/source.js";
import { chosenSeed, SeededRandom } from "../fakes/random.js";
import { inFolder, Repository } from "../fakes/repository.js";
import { pause } from "../wait.js";

const paths = ({ files }: Snapshot): readonly string[] => files.map(({ path }) => path);

/** Runs a test with a repository that has one commit, and a place for mirrors. */
function withRepository(
  title: string,
  run: (t: Test, at: { repo: Repository; cacheDir: string; folder: string; first: string }) => Promise<void>,
): void {
  void t.test(title, (t) =>
    inFolder(async (folder) => {
      const repo = new Repository(join(folder, "repo"));
      repo.write("policies/web.yaml", "web: 1\n");
      const first = repo.commit("First commit");
      await run(t, { repo, cacheDir: join(folder, "cache"), folder, first });
    }),
  );
}

withRepository(
  "a commit is read by object, with its files in order and who wrote it",
  async (t, { repo, cacheDir, first }) => {
    repo.write("a.yml", "a: 1\n");
    repo.write("b/c/d.yaml", "ü: 1\n");
    repo.write("readme.md", "no policy");
    repo.write(".github/workflows/ci.yaml", "no policy either");
    repo.write("node_modules/x/y.yaml", "nor this");
    const second = repo.commit("Second commit\n\nwith a body");
    const source = new GitSource({ location: repo.path, cacheDir });
    t.equal(source.location, repo.path);
    t.equal(await source.readTip(), second);
    const snapshot = await source.fetch();
    t.same(snapshot.source, {
      location: repo.path,
      commit: second,
      dirty: false,
      author: "Ada Lovelace <ada@example.org>",
      subject: "Second commit",
    });
    t.same(paths(snapshot), ["a.yml", "b/c/d.yaml", "policies/web.yaml"]);
    t.equal(snapshot.files[1]?.text, "ü: 1\n");
    t.equal(snapshot.files[1]?.blobId, createHash("sha1").update(`blob 6\0ü: 1\n`).digest("hex"));
    t.same(paths(await source.fetch(first)), ["policies/web.yaml"], "an older commit can be asked for");
    t.same(readdirSync(join(repo.path)).includes("b"), true, "the repository itself is left alone");
  },
);

withRepository(
  "new commits are followed, on the chosen branch, tag or commit",
  async (t, { repo, cacheDir, first }) => {
    repo.git("tag", "-a", "v1", "-m", "one");
    repo.git("checkout", "--quiet", "-b", "feature/x");
    repo.write("policies/x.yaml", "x: 1\n");
    const feature = repo.commit();
    repo.git("checkout", "--quiet", "main");
    const source = (ref?: string): GitSource =>
      new GitSource({ location: repo.path, cacheDir, ...(ref === undefined ? {} : { ref }) });
    t.equal(await source().readTip(), first);
    t.equal((await source().fetch()).source.commit, first);
    for (const ref of ["feature/x", "refs/heads/feature/x", feature]) {
      t.equal(await source(ref).readTip(), feature, ref);
      t.same(paths(await source(ref).fetch()), ["policies/web.yaml", "policies/x.yaml"], ref);
    }
    for (const ref of ["v1", "refs/tags/v1"]) {
      t.equal(await source(ref).readTip(), first, "a tag is the commit that it names");
      t.equal((await source(ref).fetch()).source.commit, first);
    }
    repo.write("policies/web.yaml", "web: 2\n");
    const third = repo.commit();
    const snapshot = await source().fetch();
    t.equal(snapshot.source.commit, third);
    t.equal(snapshot.files[0]?.text, "web: 2\n");
    t.equal((await source("v1").fetch()).source.commit, first);
  },
);

withRepository("a rewritten history is followed and reported", async (t, { repo, cacheDir, folder, first }) => {
  const bare = new Repository(join(folder, "remote.git"), { bare: true });
  repo.git("remote", "add", "origin", bare.path);
  repo.git("push", "--quiet", "origin", "main");
  const source = new GitSource({ location: `file://${bare.path}`, cacheDir, ref: "main" });
  t.equal((await source.fetch()).rewritten, undefined, "not asked, not told");
  const second = repo.commit("Second");
  repo.git("push", "--quiet", "origin", "main");
  t.equal((await source.fetch(undefined, first)).rewritten, false);
  repo.git("reset", "--quiet", "--hard", first);
  const other = repo.commit("Another second");
  repo.git("push", "--quiet", "--force", "origin", "main");
  const snapshot = await source.fetch(undefined, second);
  t.equal(snapshot.source.commit, other);
  t.equal(snapshot.rewritten, true);
  t.equal((await source.fetch(undefined, "f".repeat(40))).rewritten, true, "a commit that nobody has any more");
  t.equal((await source.fetch(undefined, other)).rewritten, false);
});

withRepository(
  "a sub-path is read alone; its files keep their place in the repository",
  async (t, { repo, cacheDir }) => {
    repo.write("other/x.yaml", "x: 1\n");
    repo.write("policies/.hidden/h.yaml", "h: 1\n");
    repo.write("policies/deep/y.yaml", "y: 1\n");
    repo.commit();
    const at = (path: string): GitSource => new GitSource({ location: repo.path, cacheDir, path });
    for (const path of ["policies", "/policies/", "./policies"]) {
      t.same(paths(await at(path).fetch()), ["policies/deep/y.yaml", "policies/web.yaml"], path);
    }
    for (const path of ["nowhere", "policies/web.yaml", "-x", "*"])
      await t.rejects(at(path).fetch(), { code: "path-not-found" }, path);
    t.throws(() => at("../etc"), { code: "path-not-found" });
  },
);

withRepository(
  "symbolic links and submodules are not followed, and named",
  async (t, { repo, cacheDir, folder, first }) => {
    writeFileSync(join(folder, "secret.yaml"), "secret: 1\n");
    repo.link("policies/outside.yaml", join(folder, "secret.yaml"));
    repo.link("policies/inside.yaml", "web.yaml");
    repo.git("add", "policies");
    repo.git("update-index", "--add", "--cacheinfo", `160000,${first},policies/module.yaml`);
    repo.git("commit", "--quiet", "-m", "Links");
    const snapshot = await new GitSource({ location: repo.path, cacheDir }).fetch();
    t.same(paths(snapshot), ["policies/web.yaml"]);
    t.same(snapshot.skipped, ["policies/inside.yaml", "policies/module.yaml", "policies/outside.yaml"]);
  },
);

withRepository(
  "nothing that the repository configures is run, and its filters change nothing",
  async (t, { repo, cacheDir, folder }) => {
    const marker = join(folder, "was-run");
    const script = join(folder, "evil.sh");
    writeFileSync(script, `#!/bin/sh\ntouch ${marker}\ncat\n`);
    chmodSync(script, 0o755);
    repo.write(".gitattributes", "*.yaml filter=evil diff=evil export-subst\n");
    repo.commit();
    for (const hook of [
      "post-checkout",
      "post-merge",
      "reference-transaction",
      "pre-receive",
      "post-upload-pack",
      "fsmonitor-watchman",
    ]) {
      writeFileSync(join(repo.path, ".git/hooks", hook), readFileSync(script), { mode: 0o755 });
    }
    const settings = [
      "filter.evil.clean",
      "filter.evil.smudge",
      "filter.evil.process",
      "diff.evil.textconv",
      "core.fsmonitor",
      "core.pager",
      "core.sshCommand",
      "uploadpack.packObjectsHook",
      "gpg.program",
    ];
    for (const name of settings) repo.git("config", name, script);
    repo.git("config", "core.hooksPath", join(repo.path, ".git/hooks"));
    repo.git("config", "log.showSignature", "true");
    const text = (await new GitSource({ location: repo.path, cacheDir }).fetch()).files[0]?.text;
    t.equal(text, "web: 1\n");
    t.notOk(existsSync(marker), "nothing was run");
  },
);

withRepository("inherited variables lead git to no other repository", async (t, { repo, cacheDir, folder, first }) => {
  const other = new Repository(join(folder, "other"));
  other.commit();
  const set = {
    GIT_DIR: join(other.path, ".git"),
    GIT_WORK_TREE: other.path,
    GIT_INDEX_FILE: "/nonexistent",
    GIT_OBJECT_DIRECTORY: "/nonexistent",
    GIT_CONFIG_COUNT: "1",
    GIT_CONFIG_KEY_0: "url./nowhere.insteadOf",
    GIT_CONFIG_VALUE_0: repo.path,
  };
  Object.assign(process.env, set);
  try {
    t.equal((await new GitSource({ location: repo.path, cacheDir }).fetch()).source.commit, first);
  } finally {
    for (const name of Object.keys(set)) Reflect.deleteProperty(process.env, name);
  }
});

withRepository("what is too large, or no text, is refused by name", async (t, { repo, cacheDir }) => {
  const limits = { ...DEFAULT_LIMITS, fileBytes: 100, files: 3, totalBytes: 150 };
  const source = new GitSource({ location: repo.path, cacheDir, limits });
  repo.write("policies/big.yaml", "x".repeat(101));
  repo.commit();
  const unread = async (from = source) => (await from.fetch()).files.filter((file) => file.unread !== undefined);
  t.match(await unread(), [
    { path: "policies/big.yaml", text: "", unread: { reason: "too-large", message: /has 101 bytes/ } },
  ]);
  repo.write("policies/big.yaml", "x".repeat(80));
  repo.write("policies/more.yaml", "x".repeat(80));
  repo.commit();
  await t.rejects(source.fetch(), { code: "too-large", message: /167 bytes together/ });
  repo.write("policies/big.yaml", "");
  repo.write("policies/fourth.yaml", "");
  repo.commit();
  await t.rejects(source.fetch(), { code: "too-large", message: /more than 3 policy files/ });
  repo.remove("policies/more.yaml");
  repo.write("policies/fourth.yaml", new Uint8Array([0x61, 0xff, 0xfe]));
  repo.commit();
  t.match(await unread(), [{ path: "policies/fourth.yaml", text: "", unread: { reason: "not-utf8" } }]);
  repo.write("policies/fourth.yaml", "x".repeat(1024 * 1024 + 1));
  repo.commit();
  const bounded = await unread(new GitSource({ location: repo.path, cacheDir }));
  t.match(bounded, [{ path: "policies/fourth.yaml", unread: { reason: "too-large" } }], "there are bounds by default");
});

withRepository(
  "a ref that is not there, an empty repository, and what is no repository are told apart",
  async (t, { repo, cacheDir, folder }) => {
    const source = (location: string, ref?: string): GitSource =>
      new GitSource({ location, cacheDir, ...(ref === undefined ? {} : { ref }) });
    await t.rejects(source(repo.path, "nope").fetch(), { code: "ref-not-found", message: /"nope"/ });
    await t.rejects(source(repo.path, "e".repeat(40)).fetch(), { code: "ref-not-found" });
    await t.rejects(source(repo.path).fetch("not-an-id"), { code: "ref-not-found" });
    const empty = new Repository(join(folder, "empty"));
    await t.rejects(source(empty.path).readTip(), { code: "ref-not-found", message: /no commit/ });
    await t.rejects(source(empty.path).fetch(), { code: "ref-not-found" });
    const first = empty.commit();
    t.equal((await source(empty.path).fetch()).source.commit, first, "and is read when it has a commit");
    await t.rejects(source(join(folder, "missing")).readTip(), { code: "source-not-found", message: /missing/ });
    await t.rejects(source(folder).fetch(), { code: "source-not-found" });
    await t.rejects(source("https://127.0.0.1:1/x.git").fetch(), { code: "source-unreachable" });
    await t.rejects(source("ssh://git@127.0.0.1:1/x.git").fetch(), { code: "source-unreachable" });
  },
);

withRepository("a mirror that was damaged in any way works again", async (t, { repo, cacheDir, first }) => {
  const source = new GitSource({ location: repo.path, cacheDir });
  await source.fetch();
  const mirror = join(cacheDir, readdirSync(cacheDir).find((name) => name.endsWith(".git")) ?? "");
  const harm: Readonly<Record<string, () => void>> = {
    "no objects": () => rmSync(join(mirror, "objects"), { recursive: true }),
    "no HEAD": () => rmSync(join(mirror, "HEAD")),
    "a broken configuration": () => writeFileSync(join(mirror, "config"), "[core\n"),
    "a lock that nobody holds": () => writeFileSync(join(mirror, "refs/ztap/HEAD.lock"), ""),
    "an empty folder": () => readdirSync(mirror).forEach((name) => rmSync(join(mirror, name), { recursive: true })),
    "no mirror": () => rmSync(mirror, { recursive: true }),
    "a file in its place": () => {
      rmSync(mirror, { recursive: true });
      writeFileSync(mirror, "");
    },
    "another repository's objects": () => renameSync(join(mirror, "objects"), join(mirror, "lost")),
  };
  t.equal((await source.fetch()).source.commit, first);
  for (const [name, damage] of Object.entries(harm)) {
    damage();
    const next = repo.commit(name);
    t.equal((await source.fetch()).source.commit, next, name);
    t.equal((await source.fetch()).source.commit, next, `${name}, and again`);
  }
  t.same(
    readdirSync(cacheDir).filter((name) => name.startsWith(".")),
    [],
    "nothing is left beside it",
  );
});

withRepository("several users of one mirror at once do not disturb each other", async (t, { repo, cacheDir }) => {
  for (let round = 0; round < 5; round += 1) {
    repo.write("policies/web.yaml", `web: ${round}\n`);
    const commit = repo.commit();
    // Every other round they make the mirror as well.
    if (round % 2 === 0) rmSync(cacheDir, { recursive: true, force: true });
    const sources = Array.from({ length: 4 }, () => new GitSource({ location: repo.path, cacheDir }));
    const snapshots = await Promise.all(sources.map((source) => source.fetch()));
    t.same(
      snapshots.map(({ source }) => source.commit),
      Array.from({ length: 4 }, () => commit),
    );
  }
});

withRepository(
  "a process that is killed while it makes or fetches a mirror leaves one that works",
  async (t, { repo, cacheDir }) => {
    const seed = chosenSeed();
    t.comment(`ZTAP_SEED=${seed}`);
    const random = new SeededRandom(seed);
    const module = new URL("../../src/adapters/git/source.js", import.meta.url).href;
    const program = `const { GitSource } = await import(${JSON.stringify(module)}); await new GitSource(${JSON.stringify({ location: repo.path, cacheDir })}).fetch();`;
    for (let round = 0; round < 12; round += 1) {
      repo.write(`policies/${round}.yaml`, "x".repeat(100_000));
      const commit = repo.commit();
      const child = spawn(process.execPath, ["--input-type=module", "-e", program], { stdio: "ignore" });
      const gone = new Promise((resolve) => child.once("close", resolve));
      // The moment is what is tested here: nothing waits for this time to pass in order to be right.
      await Promise.race([gone, pause(60 + random.below(160))]);
      child.kill("SIGKILL");
      await gone;
      const snapshot = await new GitSource({ location: repo.path, cacheDir }).fetch();
      if (snapshot.source.commit !== commit || snapshot.files.length !== round + 2) t.fail(`round ${round}`);
    }
    t.pass("every commit was read");
  },
);

withRepository("a local repository of another user is read", async (t, { repo, cacheDir, first }) => {
  if (process.getuid?.() !== 0) return void t.pass("not tried: only root can give a file away");
  execFileSync("chown", ["-R", "65534:65534", repo.path]);
  t.equal((await new GitSource({ location: repo.path, cacheDir }).fetch()).source.commit, first);
});
