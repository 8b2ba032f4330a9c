/** `ztap setup`: the file that it writes, what it leaves alone, and the workloads that it finds on this machine. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  readFileSync,
  rmdirSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import t from "tap";
import { findCgroupMount } from "../../src/adapters/system/cgroup-mount.js";
import { waitUntil } from "../wait.js";
import { NOBODY, NODES, Ztap } from "./ztap.js";

const hasSystemd = existsSync("/run/systemd/system");

t.test("setup writes the file once, and again only what changes", async (t) => {
  const ztap = new Ztap(t);
  const file = ztap.path("etc", "config.yaml");
  const run = (...args: readonly string[]) => ztap.run(["setup", "--file", file, "--node", "n1", ...args]);

  const dry = await run("--dry-run");
  t.match(dry, { code: 0, stdout: /would be written:[^]*node: n1\n/ });
  t.notOk(existsSync(file), "nothing is written");
  for (const flag of ["--dry-run", "--discover"])
    t.match(await ztap.run(["setup", flag, "--json"]), { code: 64, stdout: /neither with --discover nor/ });

  const first = await ztap.json(t, "setup", ["setup", "--file", file, "--node", "n1"], { code: await codeHere(ztap) });
  t.match(first, { action: "write", backup: null });
  if (!hasSystemd && first.units !== null) t.equal(first.units.outcome, "no-systemd");
  const text = readFileSync(file, "utf8");
  t.match(text, /^# Settings of this machine's ztap/);
  t.equal(statSync(file).mode & 0o777, 0o644);
  t.match((await ztap.run(["config", "show", "--config", file])).stdout, /node +n1 +.*config\.yaml:4/);

  t.match((await run()).stdout, /^kept {6}/);
  t.equal(readFileSync(file, "utf8"), text);

  t.match((await run("--address", "10.0.0.1:9470")).stdout, /^replaced/);
  t.match(readFileSync(file, "utf8"), /address: 10\.0\.0\.1:9470/);
  t.notOk(existsSync(`${file}.ztap-backup`), "what setup wrote needs no copy");

  await t.test("a file that a person has edited is left alone without --force", async (t) => {
    const edited = `${readFileSync(file, "utf8")}checkInterval: 7s\n`;
    writeFileSync(file, edited);
    t.match((await run()).stdout, /^kept/, "it says all that is asked for");
    const asked = await ztap.json(t, "setup", ["setup", "--file", file], { code: await codeHere(ztap) });
    t.match(asked, { action: "kept" }, "without flags the rest is done all the same");
    t.ok(asked.checks.length > 0);
    const { error } = await ztap.json(t, "error", ["setup", "--file", file, "--node", "n2"], { code: 1 });
    t.match(error, { code: "target-not-empty", message: /was edited.*--force/ });
    t.equal(readFileSync(file, "utf8"), edited);
    t.match((await ztap.run(["setup", "--file", file, "--node", "n2", "--force"])).stdout, /^replaced[^]*ztap-backup/);
    t.equal(readFileSync(`${file}.ztap-backup`, "utf8"), edited);
    t.match(readFileSync(file, "utf8"), /node: n2/);
    t.match((await ztap.run(["setup", "--file", file, "--node", "n3"])).stdout, /^replaced/);
    t.equal(readFileSync(`${file}.ztap-backup`, "utf8"), edited, "the copy of what a person wrote stays");
    writeFileSync(file, `${edited}logLevel: debug\n`);
    t.match(
      (await ztap.run(["setup", "--file", file, "--node", "n4", "--force"])).stdout,
      /^replaced[^]*ztap-backup\.2/,
    );
    t.equal(readFileSync(`${file}.ztap-backup`, "utf8"), edited, "and so does the first of two");
    t.match(readFileSync(`${file}.ztap-backup.2`, "utf8"), /logLevel: debug/);
  });

  await t.test("an invalid file, or one of others, is an error and stays", async (t) => {
    writeFileSync(file, "nod: x\n");
    t.match(await run(), { code: 64, stderr: /config\.yaml:1:1/ });
    chmodSync(file, 0o666);
    t.match(await run(), { code: 64, stderr: /others may write/ });
    t.equal(readFileSync(file, "utf8"), "nod: x\n");
  });
});

t.test("a sample without any setting is replaced, and a password is for its owner alone", async (t) => {
  const ztap = new Ztap(t);
  const file = ztap.write("config.yaml", "# node: web-1\n");
  // Git asks for no password of a folder.
  await ztap.run(["setup", "--file", file, "--store", `file:${ztap.store}`, "--node", "web-1"]);
  t.match(readFileSync(file, "utf8"), /^node: web-1$/m);
  t.equal(statSync(file).mode & 0o777, 0o644);
  const { planMachineSetup, readSetupFile } = await import("../../src/wiring/setup.js");
  const url = "https://u:secret@127.0.0.1:1/p.git";
  const plan = planMachineSetup(readSetupFile(file), { "source.url": url }, { defaults: {}, force: false });
  t.match(plan.text, /url: https:\/\/u:secret@/);
  t.equal(plan.mode, 0o600);
  const dry = await ztap.run(["setup", "--file", file, "--source", url, "--dry-run"]);
  t.match(dry, { code: 0, stdout: /url: https:\/\/…@127\.0\.0\.1:1\/p\.git/ });
  t.notMatch(dry.stdout, /secret/);
});

t.test("what a person writes while the machine is checked stays", async (t) => {
  const ztap = new Ztap(t);
  const { applyMachineSetup, planMachineSetup, readSetupFile } = await import("../../src/wiring/setup.js");
  const given = { node: "n1", store: `file:${ztap.store}` };
  for (const [name, before, edited] of [
    ["changed.yaml", "# node: web-1\n", "node: web-9\n"],
    ["made.yaml", null, "node: web-9\n"],
    ["removed.yaml", "# node: web-1\n", null],
  ] as const) {
    const file = ztap.path(name);
    if (before !== null) writeFileSync(file, before);
    const plan = planMachineSetup(readSetupFile(file), given, { defaults: {}, force: false });
    if (edited === null) rmSync(file);
    else writeFileSync(file, edited);
    await t.rejects(applyMachineSetup(plan), { code: "lost-race", message: /run ztap setup again/ }, name);
    t.equal(existsSync(file) ? readFileSync(file, "utf8") : null, edited, name);
  }
});

const skipUser = process.geteuid?.() === 0 ? false : "needs root";
t.test("no file is made where another user can replace it", { skip: skipUser }, async (t) => {
  const ztap = new Ztap(t);
  mkdirSync(ztap.path("theirs"));
  chownSync(ztap.path("theirs"), NOBODY, NOBODY);
  const file = ztap.path("theirs", "config.yaml");
  const refused = await ztap.run(["setup", "--file", file, "--node", "n1", "--store", `file:${ztap.store}`]);
  t.match(refused, { code: 64, stderr: /theirs belongs to user 65534/ });
  t.notOk(existsSync(file));
});

t.test("a store or a source that cannot be reached is said, the file stays, and nothing is started", async (t) => {
  const ztap = new Ztap(t);
  const file = ztap.path("config.yaml");
  await ztap.run(["setup", "--file", file, "--node", "n1"]);
  const before = readFileSync(file, "utf8");
  for (const flags of [
    ["--source", ztap.path("none")],
    ["--store", "etcd://127.0.0.1:1/ztap"],
  ]) {
    const failed = await ztap.json(t, "setup", ["setup", "--file", file, ...flags], { code: 1 });
    t.match(failed, { written: false, units: null, warnings: [] });
    t.equal(readFileSync(file, "utf8"), before);
    t.notOk(existsSync(`${file}.ztap-backup`));
  }
  const args = ["setup", "--file", file, "--node", "n2", "--source", ztap.path("none")];
  t.match(await ztap.run(args), {
    code: 1,
    stdout: /not written[^]*Warning: the name of this node changes from n1 to n2/,
  });
  const done = await ztap.json(t, "setup", args, { code: 1 });
  t.match(done, { units: null, written: false, warnings: [/kept by name/] });
  t.match(
    done.checks.find(({ name }: { name: string }) => name === "source"),
    { state: "failed" },
  );
});

t.test("a value of several lines breaks out of nothing", async (t) => {
  const ztap = new Ztap(t);
  const file = ztap.path("config.yaml");
  const args = ["setup", "--file", file, "--source", ztap.path("none"), "--branch", "main\nstateDir: /x"];
  const { code, stdout, stderr } = await ztap.run([...args, "--dry-run"]);
  t.equal(code, 0, stderr);
  t.match(stdout, /stateDir: \/x/);
  t.notMatch(stdout, /^ {2}stateDir/m, "it is part of the branch's name");
  t.notOk(existsSync(file));
});

t.test("on a terminal it asks for what is missing", async (t) => {
  const ztap = new Ztap(t);
  const file = ztap.path("config.yaml");
  const running = ztap.spawn(
    "script",
    ["-qefc", `env -u ZTAP_STORE ${join(ztap.root, "bin/ztap")} setup --file ${file}`, "/dev/null"],
    {
      isInteractive: true,
    },
  );
  await running.says("Name of this node [");
  running.type("BAD NAME");
  await running.says(/node \(this answer\): found "BAD NAME", wanted [^]*Name of this node \[/);
  running.type("asked");
  await running.says("Store: ");
  running.type("etcd:/x");
  await running.says(/store \(this answer\): found "etcd:\/x", wanted [^]*Store: /);
  running.type("");
  await running.says("Policy repository");
  running.type("");
  await running.ended;
  t.match(readFileSync(file, "utf8"), /node: asked\n[^]*store: file:.*\/state\n/);
  t.notMatch(readFileSync(file, "utf8"), /source:/);
});

t.test("as user nobody it needs root, and says so before any question", { skip: skipUser }, async (t) => {
  const ztap = new Ztap(t);
  if (!ztap.isReadableBy(NOBODY)) return t.comment("the checkout cannot be read by nobody");
  const as = { uid: NOBODY, env: { HOME: ztap.homeOf(NOBODY) } };
  for (const args of [["setup"], ["setup", "--node", "n1", "--store", "etcd://127.0.0.1:1/ztap"]])
    t.match(await ztap.run(args, as), { code: 1, stdout: "", stderr: /^ztap: ztap setup needs root/ }, args.join(" "));
  t.match(await ztap.run(["setup", "--dry-run"], as), { code: 0, stdout: /config\.yaml would be written/ });
});

t.test("without a certificate for the store, that comes first", async (t) => {
  const ztap = new Ztap(t);
  const file = ztap.path("config.yaml");
  const store = ["--store", "etcds://127.0.0.1:1/ztap"];
  const done = await ztap.json(t, "setup", ["setup", "--file", file, "--node", "n1", ...store], { code: 1 });
  const of = (name: string) => done.checks.find((check: { name: string }) => check.name === name);
  t.match(of("store"), { state: "failed", fix: /no certificate.*first run ztap cluster enroll.*then run ztap setup/ });
  t.match(of("node"), { state: "warning", detail: /^n1: .*not known, since the store cannot be read/ });
  const missing = { ZTAP_ETCD_CERT: ztap.path("none.crt"), ZTAP_ETCD_KEY: ztap.path("none.key") };
  const { checks } = await ztap.json(t, "doctor", ["doctor", ...store], { code: 1, env: missing });
  t.match(
    checks.find(({ name }: { name: string }) => name === "store"),
    { detail: /none\.(?:crt|key): cannot be read/, fix: /first run ztap cluster enroll/ },
  );
});

t.test("a node that the policies do not declare is a warning, which says how to add it", async (t) => {
  const ztap = new Ztap(t);
  ztap.write("state/n.yaml", NODES);
  t.match(await ztap.run(["apply", "state", "--auto-approve"]), { code: 0 });
  const check = async (node: string) => {
    const code = await codeHere(ztap);
    const { checks } = await ztap.json(t, "doctor", ["doctor", "--node", node], { code });
    return checks.find(({ name }: { name: string }) => name === "node");
  };
  t.match(await check("n1"), { state: "ok", detail: "n1", fix: null });
  t.match(await check("web-9"), { state: "warning", detail: /web-9: no Node of this name/, fix: /policy repository/ });
  const args = ["setup", "--file", ztap.path("c.yaml"), "--node", "web-9"];
  const done = await ztap.json(t, "setup", args, { code: await codeHere(ztap) });
  t.equal(done.written, true);
  t.match(
    done.checks.find(({ name }: { name: string }) => name === "node"),
    { state: "warning" },
  );
});

t.test("--discover refuses a namespace that no repository accepts", async (t) => {
  const ztap = new Ztap(t);
  t.match(await ztap.run(["setup", "--discover", "-n", "BAD NS"]), {
    code: 64,
    stdout: "",
    stderr: /--namespace: found "BAD NS", wanted the name of a namespace/,
  });
});

const mount = findCgroupMount();
const skip = process.geteuid?.() === 0 && mount !== null ? false : "needs root and cgroup v2";
t.test("--discover proposes the units that listen, as files that validate", { skip }, async (t) => {
  const ztap = new Ztap(t);
  const tag = `ztset${process.pid}`;
  const slice = join(mount?.point ?? "", `${tag}.slice`);
  const folders = [
    slice,
    ...[`${tag}-web`, `${tag}@1`, `${tag}@2`, `${tag}-idle`].map((name) => join(slice, `${name}.service`)),
  ];
  for (const folder of folders) mkdirSync(folder);
  const listen = async (name: string): Promise<number> => {
    const script = 'const s = require("net").createServer().listen(0, "0.0.0.0", () => console.log(s.address().port))';
    const child = spawn(process.execPath, ["-e", `process.stdin.once("data", () => { ${script} })`], {
      stdio: ["pipe", "pipe", "inherit"],
    });
    t.teardown(async () => {
      const ended = once(child, "exit");
      child.kill("SIGKILL");
      await ended;
    });
    writeFileSync(join(slice, `${name}.service`, "cgroup.procs"), String(child.pid));
    child.stdin.write("go");
    const [port]: Buffer[] = await once(child.stdout, "data");
    return Number(String(port));
  };
  t.teardown(() =>
    waitUntil(
      () => {
        for (const folder of folders.toReversed()) if (existsSync(folder)) rmdirSync(folder);
        return true;
      },
      { what: "the cgroups to be empty" },
    ),
  );
  const [web, one, two] = [await listen(`${tag}-web`), await listen(`${tag}@1`), await listen(`${tag}@2`)];
  const args = ["setup", "--discover", "--node", "n1", "-n", "shop"];
  const { code, stdout, stderr } = await ztap.run(args);
  t.equal(code, 0, stderr);
  const documents = stdout.split("---\n");
  const find = (name: string) => documents.find((text) => text.includes(`\n  name: ${name}\n`)) ?? "";
  t.equal(
    find(`${tag}-web`),
    `apiVersion: ztap/v1\nkind: Workload\nmetadata:\n  name: ${tag}-web\n  namespace: shop\n  labels:\n    app: ${tag}-web\nspec:\n  node: n1\n  process:\n    systemdUnit: ${tag}-web.service\n  ports:\n    - port: ${web}\n`,
  );
  const ports = [one, two].sort((a, b) => a - b).map((port) => `    - port: ${port}\n`);
  t.ok(
    find(tag).endsWith(`    systemdUnit: "${tag}@*.service"\n  ports:\n${ports.join("")}`) ||
      find(tag).endsWith(`    systemdUnit: ${tag}@*.service\n  ports:\n${ports.join("")}`),
    find(tag),
  );
  t.match(stdout, new RegExp(`^# Not proposed, since they listen on no port.*${tag}-idle\\.service`, "m"));
  ztap.write("policies/found.yaml", stdout);
  t.match(await ztap.run(["validate", "policies"]), { code: 0 });
  t.equal((await ztap.run(args)).stdout, stdout, "the same again");
});

/** The exit code of setup on a machine that may lack what the kernel part needs. */
async function codeHere(ztap: Ztap): Promise<number> {
  return (await ztap.run(["doctor"])).code ?? 1;
}
