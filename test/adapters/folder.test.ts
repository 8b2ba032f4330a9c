import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, realpathSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import t from "tap";
import { FolderSource, RepositorySource } from "../../src/adapters/git/folder.js";
import { DEFAULT_LIMITS } from "../../src/adapters/git/limits.js";
import { GitSource } from "../../src/adapters/git/source.js";
import { inFolder, Repository } from "../fakes/repository.js";

function write(file: string, content: string | Uint8Array): void {
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, content);
}

void t.test("a folder outside Git is read as it is on disk", (t) =>
  inFolder(async (folder) => {
    const dir = join(folder, "policies");
    for (const name of [
      "b.yaml",
      "a.yml",
      "deep/er/c.yaml",
      "notes.txt",
      ".hidden/h.yaml",
      "node_modules/m.yaml",
      "d.yaml/e.yaml",
    ]) {
      write(join(dir, name), `${name}: 1\n`);
    }
    write(join(folder, "outside.yaml"), "outside: 1\n");
    symlinkSync("../outside.yaml", join(dir, "link.yaml"));
    symlinkSync(folder, join(dir, "loop"));
    const source = new FolderSource({ dir });
    const snapshot = await source.fetch();
    t.same(
      snapshot.files.map(({ path }) => path),
      ["a.yml", "b.yaml", "d.yaml/e.yaml", "deep/er/c.yaml"],
    );
    t.same(snapshot.skipped, ["link.yaml"]);
    t.same(snapshot.source, { location: dir, commit: null, dirty: false, author: null, subject: null });
    t.equal(snapshot.root, realpathSync(dir));
    const tip = await source.readTip();
    t.equal(await source.readTip(), tip);
    write(join(dir, "b.yaml"), "b: 2\n");
    t.not(await source.readTip(), tip, "the tip is what the files say");
    await t.rejects(source.fetch("f".repeat(40)), { code: "ref-not-found" });
    const one = await new FolderSource({ dir: join(dir, "deep/er/c.yaml") }).fetch();
    t.same(
      one.files.map(({ path, text }) => [path, text]),
      [["c.yaml", "deep/er/c.yaml: 1\n"]],
      "a file can be named as well",
    );
  }),
);

void t.test("a folder in a work tree reports its commit, and whether its policies differ from it", (t) =>
  inFolder(async (folder) => {
    const repo = new Repository(join(folder, "repo"));
    repo.write("one/a.yaml", "a: 1\n");
    repo.write("two/b.yaml", "b: 1\n");
    const source = new FolderSource({ dir: join(repo.path, "one") });
    t.match((await source.fetch()).source, { commit: null, dirty: true }, "before the first commit");
    const commit = repo.commit("First\n\nbody");
    const clean = await source.fetch();
    t.same(clean.source, {
      location: join(repo.path, "one"),
      commit,
      dirty: false,
      author: "Ada Lovelace <ada@example.org>",
      subject: "First",
    });
    t.same(
      clean.files.map(({ path }) => path),
      ["one/a.yaml"],
      "files have their place in the repository",
    );
    t.equal(clean.root, realpathSync(repo.path));
    t.same(
      clean.files,
      (await new GitSource({ location: repo.path, path: "one", cacheDir: join(folder, "cache") }).fetch()).files,
    );
    const dirty = async (): Promise<boolean> => (await source.fetch()).source.dirty;
    repo.write("two/b.yaml", "b: 2\n");
    repo.write("one/readme.md", "no policy");
    t.equal(await dirty(), false, "another folder's changes and other files do not count");
    repo.write("one/new.yaml", "new: 1\n");
    t.equal(await dirty(), true, "a new file");
    repo.write(".gitignore", "new.yaml\n");
    t.equal(await dirty(), true, "also where Git ignores it: it is read");
    repo.remove("one/new.yaml");
    repo.write("one/a.yaml", "a: 2\n");
    t.equal(await dirty(), true, "a changed file");
    t.equal((await new FolderSource({ dir: join(repo.path, "one/a.yaml") }).fetch()).source.dirty, true);
    repo.write("one/a.yaml", "a: 1\n");
    t.equal(await dirty(), false);
    repo.remove("one/a.yaml");
    repo.write("one/keep.md", "");
    t.equal(await dirty(), true, "a file that is gone");
    t.equal(
      (await new FolderSource({ dir: join(repo.path, "one/keep.md") }).fetch().catch(() => null)) === null,
      false,
    );
    mkdirSync(join(repo.path, "three"));
    t.match(
      (await new FolderSource({ dir: join(repo.path, "three") }).fetch()).source,
      { commit, dirty: false },
      "nothing here or there",
    );
  }),
);

void t.test("with a ref, the repository around a folder is read by object", (t) =>
  inFolder(async (folder) => {
    const repo = new Repository(join(folder, "repo"));
    repo.write("one/a.yaml", "a: 1\n");
    repo.write("b.yaml", "b: 1\n");
    const first = repo.commit("First");
    repo.git("tag", "v1");
    repo.write("one/a.yaml", "a: 2\n");
    const second = repo.commit("Second");
    repo.write("one/a.yaml", "a: 3\n");
    const at = (ref: string): RepositorySource => new RepositorySource({ dir: join(repo.path, "one"), ref });
    for (const ref of ["v1", "HEAD~1", "HEAD^", first, first.slice(0, 10)]) {
      t.equal(await at(ref).readTip(), first, ref);
      const snapshot = await at(ref).fetch();
      t.same(
        snapshot.files.map(({ path, text }) => [path, text]),
        [["one/a.yaml", "a: 1\n"]],
      );
      t.match(snapshot, { source: { commit: first, dirty: false }, root: realpathSync(repo.path) });
    }
    t.equal((await at("main").fetch()).source.commit, second);
    t.equal((await at("v1").fetch(second)).files[0]?.text, "a: 2\n");
    await t.rejects(at("nope").fetch(), { code: "ref-not-found" });
    t.throws(() => at("--output=x"), { code: "ref-not-found" });
    repo.write("new/n.yaml", "n: 1\n");
    await t.rejects(new RepositorySource({ dir: join(repo.path, "new"), ref: "v1" }).fetch(), {
      code: "path-not-found",
    });
    await t.rejects(new RepositorySource({ dir: folder, ref: "v1" }).fetch(), { code: "source-not-found" });
  }),
);

void t.test("files of CIDRs are read beside the manifests; with one file, those that its words name", (t) =>
  inFolder(async (folder) => {
    const repo = new Repository(join(folder, "repo"));
    repo.write("policies/sets.yaml", 'a: ../lists/a.cidrs\nb: "sub/b.cidrs"\nc: link.cidrs\nd: ../../out.cidrs\n');
    repo.write("policies/sub/b.cidrs", "10.0.0.0/8\n");
    repo.write("policies/other.cidrs", "192.0.2.0/24\n");
    repo.write("lists/a.cidrs", "172.16.0.0/12\n");
    write(join(folder, "out.cidrs"), "0.0.0.0/0\n");
    symlinkSync("../../out.cidrs", join(repo.path, "policies/link.cidrs"));
    const first = repo.commit();
    const paths = ({ files }: { readonly files: readonly { readonly path: string }[] }) =>
      files.map(({ path }) => path).sort();
    const below = ["policies/other.cidrs", "policies/sets.yaml", "policies/sub/b.cidrs"];
    const named = ["lists/a.cidrs", "policies/sets.yaml", "policies/sub/b.cidrs"];
    const dir = join(repo.path, "policies");
    const onDisk = await new FolderSource({ dir }).fetch();
    t.same(paths(onDisk), below);
    t.same(onDisk.skipped, ["policies/link.cidrs"]);
    const cacheDir = join(folder, "cache");
    t.same(paths(await new GitSource({ location: repo.path, cacheDir, path: "policies" }).fetch()), below);
    const file = join(dir, "sets.yaml");
    for (const source of [new FolderSource({ dir: file }), new RepositorySource({ dir: file, ref: "HEAD" })]) {
      const one = await source.fetch();
      t.same(paths(one), named);
      t.match(one.source, { commit: first, dirty: false });
    }
    const source = new FolderSource({ dir: file });
    const tip = await source.readTip();
    repo.write("lists/a.cidrs", "172.16.0.0/16\n");
    t.not(await source.readTip(), tip);
    t.match((await source.fetch()).source, { commit: first, dirty: true }, "a changed list is a change");
    const limits = { ...DEFAULT_LIMITS, fileBytes: 100, cidrFileBytes: 12 };
    const large = await new FolderSource({ dir, limits }).fetch();
    t.match(
      large.files.filter(({ unread }) => unread !== undefined),
      [{ path: "policies/other.cidrs", unread: { message: "the file has 13 bytes; a file of CIDRs may have 12" } }],
    );
  }),
);

void t.test("a folder, file or ref that cannot be read is named in the error", (t) =>
  inFolder(async (folder) => {
    await t.rejects(new FolderSource({ dir: join(folder, "missing") }).fetch(), {
      code: "source-not-found",
      message: /missing/,
    });
    const limits = { ...DEFAULT_LIMITS, fileBytes: 10, files: 2, totalBytes: 15 };
    const dir = join(folder, "d");
    const source = new FolderSource({ dir, limits });
    write(join(dir, "a.yaml"), "x".repeat(11));
    const large = { path: "a.yaml", text: "", unread: { reason: "too-large", message: /has 11 bytes/ } };
    t.match((await source.fetch()).files, [large]);
    write(join(dir, "a.yaml"), "x".repeat(8));
    write(join(dir, "b.yaml"), "x".repeat(8));
    await t.rejects(source.fetch(), { code: "too-large", message: /16 bytes/ });
    write(join(dir, "b.yaml"), "");
    write(join(dir, "c.yaml"), "");
    await t.rejects(source.fetch(), { code: "too-large", message: /3 policy files/ });
    const other = join(folder, "e");
    write(join(other, "a.yaml"), new Uint8Array([0xc3, 0x28]));
    const binary = { path: "a.yaml", text: "", unread: { reason: "not-utf8" } };
    t.match((await new FolderSource({ dir: other }).fetch()).files, [binary]);
  }),
);

void t.test("another user's repository is read, and no program from its configuration runs", (t) =>
  inFolder(async (folder) => {
    if (process.getuid?.() !== 0) return void t.pass("not tried: only root can give a file away");
    const repo = new Repository(join(folder, "repo"));
    const [marker, script] = [join(folder, "was-run"), join(folder, "evil.sh")];
    writeFileSync(script, `#!/bin/sh\ntouch ${marker}\ncat\n`, { mode: 0o755 });
    repo.write(".gitattributes", "*.yaml filter=evil diff=evil\n");
    repo.write("a.yaml", "a: 1\n");
    const commit = repo.commit();
    const blob = repo.git("rev-parse", "HEAD:a.yaml");
    for (const name of [
      "filter.evil.clean",
      "filter.evil.smudge",
      "core.fsmonitor",
      "core.pager",
      "core.sshCommand",
      "gpg.program",
      "remote.origin.uploadpack",
    ]) {
      repo.git("config", name, script);
    }
    repo.git("config", "log.showSignature", "true");
    // A repository may promise objects that it would fetch, by a command of its own, when they are read.
    repo.git("config", "extensions.partialClone", "origin");
    repo.git("config", "remote.origin.promisor", "true");
    repo.git("config", "remote.origin.url", folder);
    execFileSync("chown", ["-R", "65534:65534", repo.path]);
    repo.write("b.yaml", "b: 1\n");
    t.match((await new FolderSource({ dir: repo.path }).fetch()).source, { commit, dirty: true });
    t.equal((await new RepositorySource({ dir: repo.path, ref: "main" }).fetch()).files[0]?.text, "a: 1\n");
    execFileSync("rm", ["-f", join(repo.path, ".git/objects", blob.slice(0, 2), blob.slice(2))]);
    await t.rejects(new RepositorySource({ dir: repo.path, ref: "main" }).fetch(), { code: "git-failed" });
    t.notOk(existsSync(marker), "nothing was run");
  }),
);
