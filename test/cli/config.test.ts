/** `ztap config show`, the files that are found without a flag, and flags that have no variable. */
import { chmodSync, chownSync, existsSync } from "node:fs";
import t from "tap";
import { NOBODY, NODES, Ztap } from "./ztap.js";

const isRoot = process.geteuid?.() === 0;

interface Row {
  readonly key: string;
  readonly value: string | null;
  readonly origin: string;
}

const rowOf = (document: { readonly settings: readonly Row[] }, key: string) =>
  document.settings.find((row) => row.key === key);

t.test("config show: every setting with its value and its origin, without credentials", async (t) => {
  const ztap = new Ztap(t);
  const config = ztap.write("c.yaml", "listen: off\nsource:\n  url: https://ada:secret@git.example.com/p.git\n");
  const env = { ZTAP_NODE: "web-1" };
  const shown = await ztap.json(t, "config-show", ["config", "show", "--config", config, "--node", "web-1"], { env });
  t.same(shown.files, [{ path: config, found: true }]);
  for (const [key, value, origin] of [
    ["node", "web-1", "flag --node"],
    ["store", `file:${ztap.store}`, "environment ZTAP_STORE"],
    ["listen", "off", `${config}:1`],
    ["source.url", "https://…@git.example.com/p.git", `${config}:3`],
    ["address", "web-1:9470", "default"],
    ["source.branch", null, "default"],
  ] as const)
    t.same(rowOf(shown, key), { key, value, origin });
  const named = await ztap.json(t, "config-show", ["config", "show", "--config", config], { env });
  t.match(rowOf(named, "node"), { origin: "environment ZTAP_NODE" });
  const text = await ztap.run(["config", "show", "--config", config]);
  t.match(text, { code: 0, stdout: /^listen +off +.*c\.yaml:1$/m, stderr: "" });
  t.match(text.stdout, /^source\.branch +- +default$/m);
  t.notMatch(text.stdout, /secret@/);
  const narrow = (await ztap.onTerminal(["config", "show"], "", { NO_COLOR: "1" })).stdout.split(/\r?\n/);
  const isPath = (line: string) => line.includes(ztap.folder);
  t.same(
    narrow.filter((line) => line.length > 80 && !isPath(line)),
    [],
    "no wider than the terminal, but for paths",
  );
});

t.test("config show fails on invalid settings, as every command does", async (t) => {
  const ztap = new Ztap(t);
  const config = ztap.write("c.yaml", "node: n1\nelectionTimeout: 1s\n");
  for (const command of [
    ["config", "show"],
    ["policy", "list"],
  ]) {
    const error = await ztap.json(t, "error", [...command, "--config", config], { code: 64 });
    t.equal(error.error.code, "invalid-settings");
    t.match(
      error.error.message,
      `electionTimeout (${config}:2): found "1s", wanted at least twice heartbeatInterval, which is 1s (default)`,
    );
  }
  const env = { ZTAP_CHECK_INTERVAL: "often" };
  const wrong = await ztap.run(["config", "show"], { env });
  t.match(wrong, { code: 64, stdout: "", stderr: /checkInterval \(environment ZTAP_CHECK_INTERVAL\): found "often"/ });
  t.match(await ztap.run(["config", "show", "--config", ""]), {
    code: 64,
    stderr: /--config: found "", wanted a file/,
  });
});

t.test("the user's file is found in XDG_CONFIG_HOME; an empty ZTAP_CONFIG names none", async (t) => {
  const ztap = new Ztap(t);
  const file = ztap.write("xdg/ztap/config.yaml", "# mine\nnode: mine\n");
  const env = { ZTAP_CONFIG: "", XDG_CONFIG_HOME: ztap.path("xdg") };
  const shown = await ztap.json(t, "config-show", ["config", "show"], { env });
  t.same(rowOf(shown, "node"), { key: "node", value: "mine", origin: `${file}:2` });
  t.same(shown.files[0], { path: file, found: true });
  t.match(shown.files[1], { path: "/etc/ztap/config.yaml" });
  ztap.write("xdg/ztap/config.yaml", "nod: mine\n");
  const broken = await ztap.run(["policy", "list"], { env });
  t.match(broken, { code: 64, stderr: `ztap: ${file}:1:1 ZT2003 nod is not a field of the configuration file` });
  t.match(await ztap.run(["policy", "list", "--config", "/dev/null", "--store", "memory:"], { env }), { code: 0 });
  if (!isRoot) return;
  chownSync(file, NOBODY, NOBODY);
  const foreign = await ztap.run(["policy", "list"], { env });
  t.match(foreign, {
    code: 64,
    stderr: /the configuration file .* is not read: .* belongs to user 65534; let root .* own it/,
  });
});

t.test("/etc/ztap/config.yaml is found by root and by a user", { skip: !isRoot && "not root" }, async (t) => {
  const ztap = new Ztap(t);
  const file = ztap.write("etc/ztap/config.yaml", "\nnode: of-the-machine\nlisten: off\n");
  ztap.write("etc/passwd", "root:x:0:0::/root:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\n");
  // An /etc of the test's own, in mounts that nobody else sees.
  const inside = ["--mount", "sh", "-c", 'mount --bind "$0" /etc && exec "$@"', ztap.path("etc")];
  const show = async (env: Readonly<Record<string, string>>, ...before: readonly string[]) => {
    const command = [...before, `${ztap.root}/bin/ztap`, "config", "show", "--json"];
    return ztap.spawn("unshare", [...inside, ...command], { env: { ZTAP_CONFIG: "", ...env } }).ended;
  };
  const first = await show({});
  if (/unshare|mount/.test(first.stderr)) return t.comment(`no mounts of one's own here: ${first.stderr}`);
  const origin = "/etc/ztap/config.yaml:2";
  t.same(rowOf(JSON.parse(first.stdout), "node"), { key: "node", value: "of-the-machine", origin });
  const [home, as] = [ztap.homeOf(NOBODY), ["setpriv", "--reuid", String(NOBODY), "--clear-groups"]];
  if (ztap.isReadableBy(NOBODY)) {
    const env = { HOME: home, ZTAP_STORE: "memory:" };
    ztap.write(`home-${NOBODY}/.config/ztap/config.yaml`, "node: of-the-user\n");
    const shown = await show(env, ...as);
    t.equal(shown.stderr, "");
    const { settings } = JSON.parse(shown.stdout);
    t.match(rowOf({ settings }, "node"), { value: "of-the-user", origin: `${home}/.config/ztap/config.yaml:1` });
    t.match(rowOf({ settings }, "listen"), { value: "off", origin: "/etc/ztap/config.yaml:3" }, "key by key");
    chmodSync(file, 0o600);
    const unread = await show(env, ...as);
    t.match(unread, {
      code: 64,
      stderr: /configuration file \/etc\/ztap\/config\.yaml cannot be read: permission denied/,
    });
    chmodSync(file, 0o644);
  }
  chmodSync(file, 0o646);
  t.match(await show({}), { code: 64, stderr: /is not read: others may write to \/etc\/ztap\/config\.yaml/ });
});

t.test("flags that accept a risk have no variable: if one is set, it is ignored with one warning", async (t) => {
  const ztap = new Ztap(t);
  ztap.write("repo/n.yaml", NODES);
  const env = { ZTAP_AUTO_APPROVE: "true", ZTAP_OVERRIDE: "1", ZTAP_ALLOW_LOCKOUT: "true", ZTAP_FORCE: "true" };
  const apply = await ztap.run(["apply", "repo"], { env });
  t.match(apply, { code: 1, stderr: /there is no terminal for the question; use --auto-approve/ });
  t.notOk(existsSync(ztap.store), "nothing was committed");
  for (const [variable, flag] of [
    ["ZTAP_AUTO_APPROVE", "--auto-approve"],
    ["ZTAP_OVERRIDE", "--override"],
    ["ZTAP_ALLOW_LOCKOUT", "--allow-lockout"],
  ] as const) {
    const warning = `ztap: ${variable} is ignored: ${flag} counts only on the command line\n`;
    t.equal(apply.stderr.split(warning).length, 2, `${variable}, once`);
  }
  t.notMatch(apply.stderr, /ZTAP_FORCE/, "of a flag that the command does not have");
  const empty = ztap.write("empty/README.md", "").replace("/README.md", "");
  t.match(await ztap.run(["apply", "repo", "--auto-approve"], { env: { ZTAP_AUTO_APPROVE: "" } }), {
    code: 0,
    stderr: /^ztap: there is no store at [^\n]* yet; a commit makes it\n$/,
  });
  for (const command of ["plan", "apply"])
    t.match(await ztap.run([command, empty], { env: { ZTAP_ALLOW_EMPTY: "true" } }), {
      code: 1,
      stderr: /ZTAP_ALLOW_EMPTY is ignored[^]*--allow-empty/,
    });
  const leave = await ztap.run(["cluster", "leave", "n1"], { env });
  t.match(leave.stderr, /^ztap: ZTAP_FORCE is ignored: --force counts only on the command line\n/);
  const agent = await ztap.json(t, "config-show", ["config", "show"], { env });
  t.match(rowOf(agent, "allowLockout"), { value: "true", origin: "environment ZTAP_ALLOW_LOCKOUT" });
});
