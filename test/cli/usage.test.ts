/** What was typed wrong, settings and where they come from, output that nobody reads, and init, version, doctor. */
import { execFileSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { stripVTControlCharacters } from "node:util";
import t from "tap";
import { Repository } from "../fakes/repository.js";
import { CONTROLS, NOBODY, NODES, policy, schemaErrors, Ztap } from "./ztap.js";

/** Words of the framework that parses the command line. */
const FRAMEWORK = /occurred|Parsing --|required (arg|flag)|Unexpected|Expected|Nonexistent|See more|only be specified/;

const isRoot = process.geteuid?.() === 0;

t.test("a wrong command line ends with 64, one message and no stack trace", async (t) => {
  const ztap = new Ztap(t);
  const cases: readonly (readonly [readonly string[], RegExp])[] = [
    [["plan", "--nope"], /--nope/],
    [["nope"], /no command nope/],
    [["pln", "repo"], /no command pln repo; did you mean `ztap plan`/],
    [["policy", "shw", "web"], /no command policy shw web; did you mean `ztap policy show`/],
    [["polcy"], /did you mean `ztap policy`/],
    [["plan", "--detailled-exitcode"], /no flag --detailled-exitcode; did you mean --detailed-exitcode/],
    [["plan", "--zzz"], /no flag --zzz; --help lists/],
    [
      ["explain"],
      /--from A is missing: initiator .*\n--to B:PORT\/PROTO is missing.*\nusage: ztap explain \[SOURCE\] --from A --to B/,
    ],
    [["policy", "rollback", "x", "--to", "y"], /--to cannot be "y"; it must be a whole number\n/],
    [["policy", "rollback", "x", "--to", "0"], /--to cannot be "0"; it must be a whole number of at least 1\n/],
    [["graph", "--plan", "--against", "x"], /--plan and --against exclude each other/],
    [["agent", "--source-interval", "5"], /source\.interval \(flag --source-interval\): found "5"/],
    [["plan", "--exact"], /--exact has no effect without --against/],
    [["cluster", "join"], /ID is missing: name of the node\nADDRESS is missing/],
    [["policy", "sync", "x"], /--name NAME is missing/],
    [["version", "x"], /ztap version takes no argument: x/],
    [["plan", "--format"], /--format needs a value: text, json, markdown/],
    [["plan", "--ref", "a", "--ref", "b"], /--ref is given more than once/],
    [["plan", "--format", "jsn"], /--format cannot be "jsn"; .*did you mean json\?/],
    [["enforcement", "setup"], /--backend pf is missing/],
    [["dif"], /no command dif; did you mean `ztap diff`\?/],
    [["get", "polices"], /did you mean `ztap get policies`\?/],
    [["get", "pods"], /did you mean `ztap get workloads`\?/],
    [["describe", "node", "n1"], /did you mean `ztap cluster list`\?/],
    [["get", "nodes", "web"], /ztap get nodes takes no argument: web/],
    [["logz"], /did you mean `ztap logs`\?/],
    [["complet"], /did you mean `ztap completion`\?/],
    [["policy", "list", "-n", "a", "-A"], /--namespace and --all-namespaces exclude each other/],
    [["policy", "list", "-o", "yaml", "--no-headers"], /--no-headers has no effect on yaml/],
    [["policy", "list", "-o", "jsn"], /--output cannot be "jsn"; .*did you mean json\?/],
    [["policy", "show", "a/web", "-n", "b"], /a\/web is in the namespace a, and --namespace is b/],
    [["policy", "history", "-n", "a"], /--namespace goes with NAME/],
    [["logs", "--tail", "0"], /--tail 0 shows nothing without --follow/],
    [["logs", "--since", "1"], /--since/],
    [["completion", "fsh"], /there is no "fsh" here; it must be bash, zsh, fish; did you mean fish/],
    [["status"], /did you mean `ztap cluster status`\?/],
    [["rollback", "web"], /did you mean `ztap policy rollback`\?/],
    [["show", "web"], /did you mean `ztap policy show`\?/],
    [["ls"], /did you mean `ztap policy list`\?/],
    [["rm", "web"], /no command rm web; to delete an object, remove it from the repository/],
    [["delete"], /remove it from the repository and run `ztap apply`/],
    [["autocomplete"], /no command autocomplete; did you mean `ztap completion`\?/],
    [["cluster", "rm", "n1"], /did you mean `ztap cluster leave`\?/],
    [["plan", "--log-format", "xml"], /auto, text, json/],
    [["--nope"], /--nope/],
    [["policy", "nope"], /no command policy nope; `ztap policy --help`/],
    [["validate", "--nope"], /--nope/],
    [["policy", "show"], /NAME is missing/],
    [["policy", "show", "a/b/c"], /NAMESPACE\/NAME/],
    [["plan", "a", "b"], /"b" is one argument too many: it takes no more than SOURCE/],
    [["plan", "--format", "xml"], /text, json, markdown/],
    [["plan", "--out"], /--out/],
    [["plan", "--log-level", "loud"], /debug, info, warn, error/],
    [["agent", "--backend", "magic"], /backend \(flag --backend\).*"magic".*auto, ebpf, pf, none/],
    [["agent", "--heartbeat-interval", "5"], /heartbeatInterval \(flag --heartbeat-interval\).*"5"/],
    [["agent", "--listen", "nowhere"], /listen \(flag --listen\).*host:port/],
    [["plan", "--store", "redis://x"], /store \(flag --store\).*file:PATH/],
  ];
  for (const [args, message] of cases) {
    const { code, stdout, stderr } = await ztap.run(args);
    t.equal(code, 64, args.join(" "));
    t.equal(stdout, "");
    t.match(stderr, message);
    t.match(stderr, /^ztap: /);
    t.notMatch(stderr, /^\s+at /m);
    t.notMatch(stderr, FRAMEWORK, "in our words");
  }
  const variable = await ztap.run(["plan"], { env: { ZTAP_PLAN_FORMAT: "xml" } });
  t.match(variable, { code: 64, stderr: /ZTAP_PLAN_FORMAT \(--format\) cannot be "xml"/ });
  t.notOk(existsSync(ztap.store));
});

t.test("with --json an error is a document, whatever it is", async (t) => {
  const ztap = new Ztap(t);
  const usage = await ztap.json(t, "error", ["plan", "--nope"], { code: 64 });
  t.match(usage, { error: { code: "usage", message: /--nope/ } });
  const missing = await ztap.json(t, "error", ["policy", "show", "none"], { code: 1 });
  t.match(missing, { error: { code: "not-found" } });
  const settings = await ztap.json(t, "error", ["plan"], { code: 64, env: { ZTAP_BACKEND: "magic" } });
  t.match(settings, { error: { code: "invalid-settings", message: /^backend \(environment ZTAP_BACKEND\)/ } });
  ztap.write("bad/a.yaml", "apiVersion: ztap/v1\nkind: Nodd\n");
  const source = await ztap.json(t, "error", ["plan", "bad"], { code: 1 });
  t.match(source, { error: { code: "invalid-source", diagnostics: [{ severity: "error", line: 2 }] } });
  const format = await ztap.run(["plan", "bad", "--format", "json"]);
  t.equal(schemaErrors("error", JSON.parse(format.stdout)), "");
});

t.test("help exits with 0, for the program, a topic and a command", async (t) => {
  const ztap = new Ztap(t);
  for (const args of [
    [],
    ["--help"],
    ["policy"],
    ["policy", "--help"],
    ["help", "policy", "show"],
    ["plan", "--help"],
    ["plan", "-h"],
    ["policy", "show", "-h"],
    ["policy", "-h"],
  ]) {
    const { code, stdout, stderr } = await ztap.run(args);
    t.equal(code, 0, args.join(" "));
    t.match(stdout, /USAGE/);
    t.equal(stderr, "");
    t.ok(widest(stdout) <= 80, "80 columns where there is no terminal");
  }
  const graph = (await ztap.run(["graph", "-h"])).stdout.replace(/\s+/g, " ");
  t.match(
    graph,
    "ztap graph [SOURCE] [--against REF [--exact] | --plan] [--format dot|mermaid|svg] [--namespace NAMESPACE]",
  );
  for (const command of ["apply", "plan", "policy sync", "enforcement remove", "flows"])
    t.notMatch(
      (await ztap.run([...command.split(" "), "-h"])).stdout,
      /<value>/,
      `${command}: each flag names its value`,
    );
  for (const args of [["--help"], ["plan", "-h"]]) {
    const { stdout } = await ztap.onTerminal(args, "", {}, 130);
    t.ok(widest(stdout) > 90 && widest(stdout) <= 130, `${args.join(" ")}: ${widest(stdout)} of 130 columns`);
  }
});

/** Without escape sequences and what a terminal adds. */
function widest(text: string): number {
  const lines = stripVTControlCharacters(text).split(/\r?\n/);
  return Math.max(...lines.map(({ length }) => length));
}

t.test("a flag overrides a variable, and a variable the file; a bad file is refused with the position", async (t) => {
  const ztap = new Ztap(t);
  const [a, b, c] = ["a", "b", "c"].map((name) => `file:${ztap.path(name)}`);
  ztap.write("repo/n.yaml", NODES);
  const config = ztap.write("ztap.yaml", `store: ${c}\nstateDir: ${ztap.path("state")}\n`);
  const env = { ...ztap.env, ZTAP_CONFIG: config };
  const apply = ["apply", "repo", "--auto-approve"];
  const unset = { ...env, ZTAP_STORE: "" };
  t.match(await ztap.run(apply, { env: unset }), { code: 64, stderr: /store \(environment ZTAP_STORE\): found ""/ });
  await ztap.run([...apply, "--store", a ?? ""], { env: { ...env, ZTAP_STORE: b ?? "" } });
  t.ok(existsSync(ztap.path("a")) && !existsSync(ztap.path("b")));
  await ztap.run(apply, { env: { ...env, ZTAP_STORE: b ?? "" } });
  t.ok(existsSync(ztap.path("b")) && !existsSync(ztap.path("c")));
  const fromFile = ztap.spawn("env", ["-u", "ZTAP_STORE", `${ztap.root}/bin/ztap`, ...apply], { env });
  t.match(await fromFile.ended, { code: 0 });
  t.ok(existsSync(ztap.path("c")));

  ztap.write("ztap.yaml", 'store: "memory:"\nlogLevel: loud\nsource: { url: x, intervall: 5s }\n');
  const bad = await ztap.run(["plan", "repo"], { env });
  t.equal(bad.code, 64);
  t.match(bad.stderr, /ztap\.yaml:2:\d+ ZT\d{4} /);
  t.match(bad.stderr, /ztap\.yaml:3:\d+ ZT\d{4} .*intervall.*did you mean interval\?/);
  t.match(await ztap.run(["plan", "repo", "--config", "none.yaml"]), { code: 64, stderr: /none\.yaml/ });
});

t.test("a closed pipe, no terminal, and control characters in the output", async (t) => {
  const ztap = new Ztap(t);
  ztap.write(
    "repo/n.yaml",
    NODES + "---\n" + policy(80).replace("{ name: p }", '{ name: p, annotations: { a: "x" } }'),
  );
  const applied = await ztap.run(["apply", "repo", "--auto-approve"]);
  t.equal(applied.code, 0, applied.stderr);
  const piped = ztap.spawn("sh", [
    "-c",
    `${ztap.root}/bin/ztap plan repo | head -1; ${ztap.root}/bin/ztap policy watch | true`,
  ]);
  const { code, stderr } = await piped.ended;
  t.same([code, stderr], [0, ""], "the reader went away");

  const evil = "\u001b[2J\u009b31m\u202eevil";
  const file = `name${evil}.yaml`;
  const labels = `labels: { app: web, "x": "y" }`;
  ztap.write(`evil/${file}`, `${NODES.replace("labels: { app: web }", labels)}  ${JSON.stringify(evil)}: 1\n`);
  ztap.write(
    "comment/a.yaml",
    policy(80).replace("name: p", `name: p, annotations: { note: "\\u009b31m\\e[2J" }`) + NODES.replace(/^/, "---\n"),
  );
  for (const args of [
    ["plan", "evil"],
    ["validate", "evil"],
    ["plan", "evil", "--json"],
    ["validate", "evil", "--json"],
    ["plan", "comment"],
    ["plan", "comment", "--json"],
  ]) {
    const { stdout, stderr } = await ztap.run(args);
    t.notMatch(stdout + stderr, CONTROLS, args.join(" "));
    t.ok((stdout + stderr).length > 20);
  }
  const colour = await ztap.onTerminal(["plan", "repo", "--store", "memory:"], "");
  t.match(colour.stdout, /\u001b\[32m\+/, "coloured on a terminal");
  const plain = await ztap.onTerminal(["plan", "repo", "--store", "memory:"], "", { NO_COLOR: "1" });
  t.notMatch(plain.stdout, /\u001b/, "unless NO_COLOR");
});

t.test("init writes a valid repository, and keeps existing files", async (t) => {
  const ztap = new Ztap(t);
  ztap.write("new/README.md", "mine");
  const made = await ztap.json(t, "init", ["init", "new"]);
  t.match(made, { dir: "new", kept: ["README.md"], initialized: true });
  t.equal(readFileSync(ztap.path("new/README.md"), "utf8"), "mine");
  t.match(await ztap.json(t, "validate", ["validate", "new"]), { valid: true, diagnostics: [] });
  const again = await ztap.json(t, "init", ["init", "new"]);
  t.match(again, { created: [], initialized: false });
  t.equal(again.kept.length, made.created.length + 1);
  t.match(await ztap.run(["init", "README.md"], { cwd: ztap.path("new") }), { code: 1, stderr: /README\.md/ });
  t.match((await ztap.run(["init"], { cwd: ztap.path("new") })).stdout, /Next:\n {2}ztap validate/);
});

t.test("an error of the operating system is described in words, with the fix", async (t) => {
  const ztap = new Ztap(t);
  ztap.write("repo/n.yaml", NODES);
  const shop = "{ name: db, namespace: shop, labels: { app: db } }";
  ztap.write(
    "repo/shop.yaml",
    `apiVersion: ztap/v1\nkind: Workload\nmetadata: ${shop}\nspec: { addresses: ["10.0.0.2"] }\n`,
  );
  ztap.write("file", "");
  ztap.write("nothing/README.md", "");
  ztap.write("c.yaml", "listne: x\n");
  t.match(await ztap.run(["plan", "repo", "--out", "saved.plan"]), { code: 0 });
  ztap.write("cut.plan", readFileSync(ztap.path("saved.plan"), "utf8").slice(0, 200));
  const rows: readonly (readonly [string, RegExp])[] = [
    ["validate none", /none cannot be read: no such file or directory; check the path/],
    ["plan github.com/a/b", /github\.com\/a\/b cannot be read: .*did you mean https:\/\/github\.com\/a\/b\?/],
    ["plan saved.plan", /saved\.plan is a saved plan; use `ztap apply saved\.plan`/],
    ["connectivity saved.plan", /is a saved plan/],
    ["apply cut.plan", /cut\.plan is not a usable plan: it is incomplete; plan again\n/],
    [
      "plan repo --config c.yaml",
      /c\.yaml:1:1 ZT2003 listne is not a field of the configuration file; did you mean listen/,
    ],
    ["explain repo --from default/wbe --to default/web:80", /no workload default\/wbe; did you mean default\/web\?/],
    ["explain repo --from web --to db:80", /no workload default\/db; did you mean shop\/db\?/],
    ["explain nothing --from a --to b:1", /there are no objects here/],
    ["enforcement render nothing", /there are no objects here/],
    ["policy list --store etcd://nohost.invalid:2379", /cannot be reached: the host name cannot be resolved/],
    ["plan file/below", /file\/below cannot be read: not a directory; check the path/],
    ["plan repo --config none.yaml", /configuration file none\.yaml cannot be read: no such file/],
    ["plan repo --config repo", /configuration file repo cannot be read: it is a folder/],
    ["plan repo --out none/x", /plan cannot be saved as none\/x: no such file/],
    ["apply file", /neither a folder nor a saved plan/],
    ["init file/below", /file\/below: not a directory; check the path/],
    // Where Node's own recursive mkdir never ends.
    ["init /proc/foo", /\/proc\/foo cannot be created: the file system of \/proc accepts no new folder/],
    ["init /proc/foo/below", /\/proc\/foo cannot be created/],
    ["plan file:///dev/null/x --state-dir /proc/foo", /\/proc\/foo cannot be created/],
    ["agent --once --backend none --source file:///x --state-dir /proc/foo", /\/proc\/foo cannot be created/],
    ["apply repo --auto-approve --store ./file/store", /store at \.\/file\/store cannot be used: not a directory/],
  ];
  for (const [line, message] of rows) {
    const { code, stderr } = await ztap.run(line.split(" "));
    t.ok(code === 1 || code === 64, line);
    t.match(stderr, message, line);
    t.notMatch(stderr, /\bE[A-Z]{4,}\b/, line);
  }
});

t.test("logs are text or JSON as configured, whether or not they go to a terminal", async (t) => {
  const ztap = new Ztap(t);
  ztap.write("repo/n.yaml", NODES);
  await ztap.run(["apply", "repo", "--auto-approve"]);
  const agent = ["agent", "--once", "--backend", "none", "--node", "n1", "--listen", "off"];
  const [line = ""] = (await ztap.run(agent)).stderr.split("\n");
  t.match(JSON.parse(line), { level: "warn", msg: /--backend none/ });
  const text = await ztap.run([...agent, "--log-format", "text"]);
  t.match(text.stderr, /^\d\d:\d\d:\d\d\.\d{3} warn {2}nothing is enforced/);
  const json = await ztap.onTerminal(agent, "", { ZTAP_LOG_FORMAT: "json" });
  t.match(json.stdout, /^\{"level":"warn"/, "also on a terminal");
});

t.test("docs/cli.md equals the help of the commands", async (t) => {
  const generator = new URL("../../../docs/generate.mjs", import.meta.url).pathname;
  t.equal(execFileSync(process.execPath, [generator, "--check"], { encoding: "utf8" }), "");
});

t.test("version; doctor as root and as user nobody", async (t) => {
  const ztap = new Ztap(t);
  t.match(await ztap.json(t, "version", ["version"]), { node: process.versions.node });
  t.match((await ztap.run(["version"])).stdout, /^ztap \d/);
  const own = await ztap.run(["doctor", "--json"]);
  const document = JSON.parse(own.stdout);
  t.equal(schemaErrors("doctor", document), "");
  t.equal(own.code, document.ok === true ? 0 : 1);
  t.match((await ztap.run(["doctor"])).stdout, /git/);
  const away = await ztap.json(t, "doctor", ["doctor", "--source", "/nowhere"], { code: 1 });
  t.match(away.checks.at(-1), { name: "source", state: "failed", detail: /nowhere/ });
});

t.test(
  "as user nobody: its own store works; the kernel and another user's store are refused",
  { skip: !isRoot && "needs root to become nobody" },
  async (t) => {
    const ztap = new Ztap(t);
    if (!ztap.isReadableBy(NOBODY)) return t.comment("the checkout cannot be read by nobody");
    const repo = new Repository(ztap.path("repo"));
    repo.write("n.yaml", NODES + "---\n" + policy(80));
    await ztap.run(["apply", "repo", "--auto-approve"]);
    const home = ztap.homeOf(NOBODY);
    const env = { HOME: home, ZTAP_STORE: `file:${home}/store`, ZTAP_STATE_DIR: `${home}/state` };
    const as = { uid: NOBODY, env };
    const doctor = await ztap.json(t, "doctor", ["doctor"], { ...as, code: 1 });
    t.match(
      doctor.checks.find(({ name }: { name: string }) => name === "privileges"),
      { state: "failed", fix: /root/ },
    );
    t.match(
      doctor.checks.find(({ name }: { name: string }) => name === "store"),
      { state: "ok", detail: `none at ${home}/store yet; the agent makes it, or ztap apply` },
    );
    for (const args of [["show"], ["remove", "--auto-approve"]]) {
      const refused = await ztap.json(t, "error", ["enforcement", ...args], { ...as, code: 1 });
      t.match(refused, { error: { code: "not-permitted", message: /needs root/ } });
    }
    const missing = await ztap.json(t, "error", ["policy", "list"], { ...as, code: 1 });
    t.match(missing, { error: { code: "not-found", message: `there is no store at ${home}/store; name another` } });
    const unnamed = ztap.spawn(
      "env",
      ["-u", "ZTAP_STORE", "-u", "ZTAP_STATE_DIR", `${ztap.root}/bin/ztap`, "cluster", "status"],
      {
        ...as,
        env: { HOME: home },
      },
    );
    t.match(await unnamed.ended, {
      code: 1,
      stdout: "",
      stderr: new RegExp(`no store at ${home}/.local/state/ztap, the default of this user; root's is another`),
    });
    t.notOk(existsSync(`${home}/store`));
    const applied = await ztap.json(t, "apply", ["apply", "repo", "--auto-approve"], as);
    t.match(applied, { revision: { number: 1 } });
    t.match(await ztap.json(t, "policy-show", ["policy", "show", "p"], as), {
      nodes: [{ node: "n1", state: "Unknown" }],
    });
    const others = { uid: NOBODY, env: { ...env, ZTAP_STORE: `file:${ztap.store}` } };
    const source = ["--source", "github.com/a/b"];
    const both = await ztap.run(["doctor", ...source], others);
    t.match(
      both.stdout,
      /there is no \S+\/github\.com\/a\/b on this machine\n +→ did you mean https:\/\/github\.com\/a\/b\?/,
    );
    t.notMatch(both.stdout, /EACCES|scandir|stat /, "in words");
    t.equal(both.stdout.match(/run as root or use --store/g)?.length, 1, "said once");
    for (const args of [
      ["policy", "list"],
      ["cluster", "status"],
      ["plan", "repo"],
    ]) {
      const refused = await ztap.json(t, "error", args, { ...others, code: 1 });
      t.match(refused, { error: { code: "store-permission" } }, args.join(" "));
    }
    const agent = await ztap.run(["agent", "--once", "--node", "n1", "--listen", "off"], as);
    t.equal(agent.code, 1, "enforcing needs root");
  },
);

t.test("validate in machine formats: only the document on stdout, and paths relative to the repository", async (t) => {
  const ztap = new Ztap(t);
  const repo = new Repository(ztap.path("repo"));
  repo.write("policies/n.yaml", NODES.replace("address:", "adress:"));
  const cwd = ztap.path("repo/policies");
  t.match((await ztap.run(["validate"], { cwd })).stdout, /^n\.yaml:4:/m);
  const github = await ztap.run(["validate", "--format", "github"], { cwd });
  t.match(github, { code: 1, stdout: /^::error file=policies\/n\.yaml,line=4,col=\d+,title=ZT2003 /m, stderr: "" });
  const junit = await ztap.run(["validate", "--format", "junit"], { cwd });
  t.match(junit, {
    code: 1,
    stdout: /^<\?xml .*<testcase [^>]*name="policies\/n\.yaml".*<\/testsuites>\n$/s,
    stderr: "",
  });
  const sarif = await ztap.run(["validate", "--format", "sarif"], { cwd });
  t.match(sarif, { code: 1, stderr: "" });
  t.equal(
    JSON.parse(sarif.stdout).runs[0].results[0].locations[0].physicalLocation.artifactLocation.uri,
    "policies/n.yaml",
  );
  // Outside of a repository, and in two at once, there is no such name.
  ztap.write("plain/n.yaml", NODES);
  t.match((await ztap.run(["validate", "plain", "--format", "junit"])).stdout, /name="plain\/n\.yaml"/);
  const both = await ztap.run(["validate", "plain", "repo", "--format", "junit"]);
  t.match(both.stdout, /name="plain\/n\.yaml".*name="repo\/policies\/n\.yaml"/s);
});
