import { chmodSync, chownSync, mkdirSync, readdirSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t, { type Test } from "tap";
import type { SignerOptions } from "../../src/adapters/git/signers.js";
import { GitSource } from "../../src/adapters/git/source.js";
import type { Snapshot } from "../../src/interfaces/source.js";
import { inFolder, Repository } from "../fakes/repository.js";
import { cannotRun, commitSigned, makeOpenPgpKey, makeSshKey, type OpenPgpSigner } from "../fakes/signing.js";

interface Place {
  readonly repo: Repository;
  readonly folder: string;
  /** Where the allowed signers stand. */
  readonly file: string;
  /** Reads `commit` (default: the tip) as after `accepted`. */
  read(options?: Partial<SignerOptions>, accepted?: string, commit?: string): Promise<Snapshot>;
  pgpKey(name: string, expires?: string, madeAt?: string): OpenPgpSigner;
}

function withSignedRepository(
  title: string,
  programs: readonly string[],
  run: (t: Test, place: Place) => Promise<void>,
): void {
  void t.test(title, { skip: cannotRun(...programs) }, (t) =>
    inFolder(async (folder) => {
      const repo = new Repository(join(folder, "repo"));
      repo.write("web.yaml", "web: 1\n");
      const trusted = join(folder, "trusted");
      mkdirSync(trusted);
      const file = join(trusted, "signers");
      const keys: OpenPgpSigner[] = [];
      const read: Place["read"] = (options = { sshSigners: file }, accepted, commit) => {
        const signers = { sshSigners: null, openpgpKeys: null, since: null, ...options };
        const cacheDir = join(folder, "cache");
        return new GitSource({ location: repo.path, cacheDir, signers }).fetch(commit, accepted);
      };
      const pgpKey: Place["pgpKey"] = (name, expires, madeAt) => {
        const key = makeOpenPgpKey(folder, name, expires, madeAt);
        keys.push(key);
        return key;
      };
      try {
        await run(t, { repo, folder, file, read, pgpKey });
      } finally {
        for (const key of keys) key.stop();
      }
      t.same(
        readdirSync(join(folder, "cache")).filter((name) => name.startsWith(".signers")),
        [],
        "nothing is left",
      );
    }),
  );
}

const SSH = ["ssh-keygen"];
const PGP = ["gpg", "gpgconf"];

withSignedRepository("a commit signed with an allowed SSH key is read, any other is not", SSH, async (t, at) => {
  const { repo, folder, file, read } = at;
  const [ada, eve] = [makeSshKey(folder, "ada"), makeSshKey(folder, "eve")];
  writeFileSync(file, ada.allowed());
  const first = commitSigned(repo, ada);
  const good = await read();
  t.equal(good.unverified, null);
  t.equal(good.files.length, 1);
  const plain = repo.commit("Unsigned");
  const bad = await read();
  t.match(bad.unverified, { commit: plain, author: "Ada Lovelace <ada@example.org>", problem: "it is not signed" });
  t.same(bad.files, [], "what nobody vouched for is not even read");
  repo.git("reset", "--quiet", "--hard", first);
  const foreign = commitSigned(repo, eve);
  t.match((await read()).unverified, {
    commit: foreign,
    problem: /SSH key SHA256:\S+, which is not an allowed signer/,
  });
  writeFileSync(file, ada.allowed() + eve.allowed());
  t.equal((await read()).unverified, null, "what the file says now holds");
  writeFileSync(file, ada.allowed() + eve.allowed("eve@example.org", 'namespaces="file"'));
  t.match((await read()).unverified, { commit: foreign }, "a key for something else than Git");
  writeFileSync(file, ada.allowed() + eve.allowed("eve@example.org", 'valid-before="20200101"'));
  t.match((await read()).unverified, { commit: foreign }, "a key that had run out when the commit was made");
});

withSignedRepository("every commit since the accepted one counts, by all parents", SSH, async (t, at) => {
  const { repo, folder, file, read } = at;
  const ada = makeSshKey(folder, "ada");
  writeFileSync(file, ada.allowed());
  const old = repo.commit("Before anybody signed");
  const accepted = commitSigned(repo, ada);
  t.equal((await read()).unverified, null, "the first one that is accepted is the tip alone");
  repo.git("checkout", "--quiet", "-b", "side");
  repo.write("side.yaml", "side: 1\n");
  const smuggled = repo.commit("Unsigned, on a branch");
  commitSigned(repo, ada, "Signed on top of it");
  repo.git("checkout", "--quiet", "main");
  repo.gitWith({}, ...ada.options, "merge", "--quiet", "--no-ff", "-S", "-m", "Merge", "side");
  t.match((await read(undefined, accepted)).unverified, { commit: smuggled });
  t.match(await read(undefined, repo.git("rev-parse", "HEAD")), { rewritten: false, unverified: null });
  const since = (id: string) => ({ sshSigners: file, since: id });
  t.match((await read(since(old))).unverified, { commit: smuggled }, "from the configured start on");
  t.match(await read(since(smuggled), accepted), { unverified: null }, "which can be moved past what is known");
  const other = commitSigned(repo, ada);
  repo.git("reset", "--quiet", "--hard", accepted);
  t.match((await read(since(other))).unverified, { problem: /no descendant of source.verify.since/ });
  t.match(await read(undefined, other, accepted), { rewritten: true, unverified: null }, "going back is told");
});

withSignedRepository("neither the repository nor the user's configuration chooses who may sign", SSH, async (t, at) => {
  const { repo, folder, file, read } = at;
  const [ada, eve] = [makeSshKey(folder, "ada"), makeSshKey(folder, "eve")];
  writeFileSync(file, ada.allowed());
  const inside = join(repo.path, "allowed_signers");
  writeFileSync(inside, eve.allowed());
  const bad = commitSigned(repo, eve);
  repo.git("config", "gpg.ssh.allowedSignersFile", inside);
  repo.git("config", "gpg.ssh.program", "/bin/true");
  const config = join(folder, "gitconfig");
  writeFileSync(config, `[gpg "ssh"]\n\tallowedSignersFile = ${inside}\n\tprogram = /bin/true\n`);
  const before = process.env["GIT_CONFIG_GLOBAL"];
  process.env["GIT_CONFIG_GLOBAL"] = config;
  t.teardown(() => {
    if (before === undefined) delete process.env["GIT_CONFIG_GLOBAL"];
    else process.env["GIT_CONFIG_GLOBAL"] = before;
  });
  t.match((await read()).unverified, { commit: bad });
  t.match((await read({ sshSigners: inside })).unverified, { problem: /is in the repository/ });
  const link = join(folder, "trusted", "link");
  symlinkSync(inside, link);
  t.match((await read({ sshSigners: link })).unverified, { problem: /is in the repository/ });
});

withSignedRepository("a file that others can change says nothing", SSH, async (t, at) => {
  const { repo, folder, file, read } = at;
  const ada = makeSshKey(folder, "ada");
  writeFileSync(file, ada.allowed());
  commitSigned(repo, ada);
  chmodSync(file, 0o664);
  t.match((await read()).unverified, { problem: /can be changed by others: others may write to .*signers/ });
  chmodSync(file, 0o644);
  chmodSync(join(folder, "trusted"), 0o777);
  t.match((await read()).unverified, { problem: /others may write to .*trusted/ });
  chmodSync(join(folder, "trusted"), 0o755);
  t.equal((await read()).unverified, null);
  t.match((await read({ sshSigners: `${file}-gone` })).unverified, { problem: /cannot be read: no such file/ });
  await t.test("another user's repository", { skip: process.geteuid?.() !== 0 && "needs root" }, async (t) => {
    chownSync(file, 65_534, 65_534);
    t.match((await read()).unverified, { problem: /belongs to user 65534/ });
  });
});

withSignedRepository("OpenPGP: an allowed key, no other, none that was revoked or has expired", PGP, async (t, at) => {
  const { repo, file, read, pgpKey } = at;
  const [ada, eve] = [pgpKey("ada"), pgpKey("eve")];
  const keys = { openpgpKeys: file };
  writeFileSync(file, ada.exported());
  commitSigned(repo, ada);
  t.match(await read(keys), { unverified: null, files: [{ path: "web.yaml" }] });
  const foreign = commitSigned(repo, eve);
  t.match((await read(keys)).unverified, {
    commit: foreign,
    problem: /OpenPGP key \w+, which is not an allowed signer/,
  });
  writeFileSync(file, ada.exported() + eve.exported());
  t.match(await read(keys), { unverified: null }, "several keys in one file");
  eve.revoke();
  writeFileSync(file, ada.exported() + eve.exported());
  t.match((await read(keys)).unverified, { commit: foreign, problem: /was revoked/ });
  writeFileSync(file, "no key at all");
  t.match((await read(keys)).unverified, { problem: /cannot be read by gpg/ });
});

withSignedRepository("OpenPGP: a key that has expired", PGP, async (t, { repo, file, read, pgpKey }) => {
  const old = pgpKey("old", "30d", "20250101T000000");
  writeFileSync(file, old.exported());
  commitSigned(repo, old);
  t.match((await read({ openpgpKeys: file })).unverified, { problem: /has expired/ });
});

withSignedRepository("a kind of signature that nobody was named for is none", [...SSH, ...PGP], async (t, at) => {
  const { repo, folder, file, read, pgpKey } = at;
  const [ssh, pgp] = [makeSshKey(folder, "ada"), pgpKey("ada")];
  writeFileSync(file, ssh.allowed());
  const openpgpKeys = `${file}.asc`;
  writeFileSync(openpgpKeys, pgp.exported());
  commitSigned(repo, ssh);
  t.match((await read({ openpgpKeys })).unverified, { problem: /has no signers/ });
  commitSigned(repo, pgp);
  t.match((await read({ sshSigners: file })).unverified, { problem: /has no signers/ });
  t.match(await read({ sshSigners: file, openpgpKeys }), { unverified: null }, "each by its own kind");
});
