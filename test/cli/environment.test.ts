/** What surrounds a command and is not its own: HOME, which tells it nothing; git, which may be missing; files that cannot be read. */
import { execFileSync } from "node:child_process";
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
} from "node:fs";
import { createServer } from "node:net";
import t from "tap";
import { Repository } from "../fakes/repository.js";
import { CONTROLS, NOBODY, NODES, Ztap } from "./ztap.js";

const isRoot = process.geteuid?.() === 0;

t.test(
  "HOME has no influence: neither plugins nor a theme are read, and an unreadable HOME does not matter",
  async (t) => {
    const ztap = new Ztap(t);
    const trap = `require("fs").writeFileSync(${JSON.stringify(ztap.path("owned"))}, ""); module.exports = async () => {};`;
    const data = "home/.local/share/ztap";
    ztap.write(`${data}/package.json`, JSON.stringify({ oclif: { plugins: [{ name: "evil", type: "user" }] } }));
    ztap.write(
      `${data}/node_modules/evil/package.json`,
      JSON.stringify({
        name: "evil",
        version: "1.0.0",
        oclif: { commands: "./commands", hooks: { init: "./trap.js" } },
      }),
    );
    for (const file of ["trap.js", "commands/version.js"]) ztap.write(`${data}/node_modules/evil/${file}`, trap);
    ztap.write("home/.config/ztap/theme.json", JSON.stringify({ bin: "red", command: "red" }));
    ztap.write("home/.config/ztap/config.json", JSON.stringify({ store: "memory:" }));
    const HOME = ztap.path("home");
    const before = readdirSync(HOME, { recursive: true }).sort();
    const environments: readonly Readonly<Record<string, string>>[] = [
      { HOME },
      { HOME: "/nowhere", XDG_DATA_HOME: `${HOME}/.local/share`, XDG_CONFIG_HOME: `${HOME}/.config` },
      { HOME, ZTAP_DATA_DIR: ztap.path(data), ZTAP_CONFIG_DIR: `${HOME}/.config/ztap`, NODE_ENV: "development" },
    ];
    for (const env of environments) {
      t.match(await ztap.run(["version"], { env }), { code: 0, stdout: /^ztap \d/, stderr: "" });
      t.equal(
        (await ztap.run(["plan", "-h"], { env: { ...env, FORCE_COLOR: "1" } })).stdout.includes("\u001b[31m"),
        false,
      );
    }
    t.notOk(existsSync(ztap.path("owned")), "nothing of HOME was run");
    t.same(readdirSync(HOME, { recursive: true }).sort(), before, "and nothing made there");
    if (!isRoot || !ztap.isReadableBy(NOBODY)) return t.comment("not root: no HOME that cannot be read");
    chownSync(HOME, 0, 0);
    chmodSync(HOME, 0o700);
    t.match(await ztap.run(["version"], { env: { HOME }, uid: NOBODY }), { code: 0, stderr: "" });
  },
);

t.test(
  "root runs no program from another user's Git configuration",
  { skip: isRoot ? false : "not root" },
  async (t) => {
    const ztap = new Ztap(t);
    const owned = ztap.path("owned");
    const trap = `[core]\n\tsshCommand = "touch ${owned}; false"\n`;
    const [HOME, config] = [ztap.path("home"), ztap.write("home/.gitconfig", trap)];
    const url = "ssh://127.0.0.1:1/a.git";
    const ask = async (env: Readonly<Record<string, string>>, expected: "is read" | "is not", why: string) => {
      const asked = ["-u", "GIT_CONFIG_GLOBAL", `${ztap.root}/bin/ztap`, "plan", url];
      t.match(await ztap.spawn("env", asked, { env: { HOME, ...env } }).ended, { code: 1 });
      t.equal(existsSync(owned), expected === "is read", `${why} ${expected}`);
      rmSync(owned, { force: true });
    };
    await ask({}, "is read", "root's own");
    chownSync(HOME, NOBODY, NOBODY);
    await ask({}, "is not", "a file in another user's home");
    chownSync(HOME, 0, 0);
    chownSync(config, NOBODY, NOBODY);
    await ask({}, "is not", "another user's file in root's home");
    chownSync(config, 0, 0);
    chmodSync(config, 0o666);
    await ask({}, "is not", "a file that others may write to");
    chmodSync(config, 0o644);
    chmodSync(HOME, 0o1777);
    await ask({}, "is not", "a file in a folder that others may write to");
    chmodSync(HOME, 0o755);

    const away = ztap.path("away");
    renameSync(config, ztap.write("away/.gitconfig", ""));
    chownSync(away, NOBODY, NOBODY);
    symlinkSync(ztap.path("away/.gitconfig"), config);
    await ask({}, "is not", "a link to another user's");
    await ask({ HOME: "/nowhere", XDG_CONFIG_HOME: away }, "is not", "XDG_CONFIG_HOME of another user");
    rmSync(config);
    chmodSync(ztap.folder, 0o1777);
    // What is not there yet, anybody may make after the look: git says which file it was given.
    const trace = ztap.path("trace");
    ztap.write("bin/git", `#!/bin/sh\necho "config $GIT_CONFIG_GLOBAL" >> ${trace}\nexit 1\n`);
    chmodSync(ztap.path("bin/git"), 0o755);
    const PATH = `${ztap.path("bin")}:${process.env["PATH"] ?? ""}`;
    await ask({ HOME: ztap.path("late"), PATH }, "is not", "a home that is to be");
    t.match(readFileSync(trace, "utf8"), /^config \/dev\/null\n/);
    chmodSync(ztap.folder, 0o755);

    for (const name of ["GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM"]) {
      const named = await ztap.json(t, "error", ["plan", url], { env: { [name]: `${away}/.gitconfig` }, code: 1 });
      t.match(named, {
        error: { message: new RegExp(`${name} names .*away belongs to user ${NOBODY}.*unset ${name}`) },
      });
      t.notOk(existsSync(owned), "what is named by hand is refused");
    }
    const doctor = await ztap.run(["doctor"], { env: { GIT_CONFIG_GLOBAL: `${away}/.gitconfig` } });
    t.match(doctor.stdout, /GIT_CONFIG_GLOBAL names/);
  },
);

t.test(
  "flows are read only from a socket that no other user could make, and printed without terminal controls",
  async (t) => {
    const ztap = new Ztap(t);
    const folder = ztap.path("state", "flows");
    mkdirSync(folder, { recursive: true });
    const [node, escape] = ["\u001b]0;owned\u0007\u009b2Jn\u202e", "\u001b[2J"];
    const peer = { address: "10.0.0.1", port: 1, workloads: ["shop/db"] };
    const event = {
      ...{ kind: "verdict", verdict: "denied", time: "2026-01-01T00:00:00.000Z", protocol: "TCP", peer, port: null },
      ...{ node: "n1", workload: "shop/web", policies: [{ policy: "shop/p", file: escape, line: 1 }], rule: null },
      ...{ icmp: null, localPort: 1, hook: "call", direction: "egress" },
    };
    const wrong = { time: escape, node, workload: escape, protocol: escape, localPort: 65_536 };
    const forged = Object.entries(wrong).map(([name, value]) => ({ ...event, verdict: "allowed", [name]: value }));
    const server = createServer((socket) => {
      const lines = [...forged, event, { kind: "end" }].map((line) => `${JSON.stringify(line)}\n`);
      socket.on("error", () => undefined).once("data", () => socket.end(lines.join("")));
    });
    const socket = `${folder}/${node}.sock`;
    await new Promise<void>((resolve) => void server.listen(socket, resolve));
    t.teardown(() => new Promise<void>((resolve) => void server.close(() => resolve())));
    chmodSync(socket, 0o600);
    const told = await ztap.run(["flows"]);
    t.match(told, { code: 0, stdout: /denied/, stderr: /these are the flows of node / });
    t.notMatch(told.stdout + told.stderr, CONTROLS);
    t.notMatch(told.stdout, /allowed/, "an event whose fields are not what they may be is left out");
    const terminal = await ztap.onTerminal(["flows"], "");
    t.match(terminal, { code: 0, stdout: /\u001b\[31mdenied/ });
    t.notMatch(terminal.stdout.replace(/\u001b\[\d+m|\r/g, ""), CONTROLS, "but for our own colours");

    const refused = async (why: string) => {
      const said = await ztap.json(t, "error", ["flows"], { code: 1 });
      t.match(said, {
        error: { code: "not-permitted", message: new RegExp(`--state-dir that only its user.*${why}`) },
      });
    };
    chmodSync(socket, 0o602);
    await refused("others may write to .*sock");
    chmodSync(socket, 0o600);
    chmodSync(folder, 0o1777);
    await refused("others may write to .*flows");
    chmodSync(folder, 0o755);
    if (!isRoot) return;
    for (const path of [socket, folder, ztap.path("state")]) {
      chownSync(path, NOBODY, NOBODY);
      await refused(`belongs to user ${NOBODY}`);
      chownSync(path, 0, 0);
    }
    t.match(await ztap.run(["flows"]), { code: 0 });
  },
);

t.test("without git, doctor, init and --ref name it as missing, and commands that do not need it work", async (t) => {
  const ztap = new Ztap(t);
  ztap.write("bin/README", "all but git");
  for (const name of ["sh", "readlink", "dirname", "env"])
    symlinkSync(execFileSync("sh", ["-c", `command -v ${name}`], { encoding: "utf8" }).trim(), ztap.path("bin", name));
  symlinkSync(process.execPath, ztap.path("bin/node"));
  const env = { PATH: ztap.path("bin") };
  const doctor = await ztap.json(t, "doctor", ["doctor"], { env, code: 1 });
  t.match(
    doctor.checks.find(({ name }: { name: string }) => name === "git"),
    { state: "failed", detail: "git is not found in PATH: install git 2.30 or newer", fix: /install git/ },
  );
  const made = await ztap.json(t, "init", ["init", "new"], { env });
  t.match(made, { initialized: false, problem: /git is not found in PATH/ });
  t.match(await ztap.json(t, "validate", ["validate", "new"], { env }), { valid: true });
  t.match((await ztap.run(["init", "other"], { env })).stdout, /missing {2}\.git: git is not found.*`git init`/);
  const repo = new Repository(ztap.path("repo"));
  repo.write("n.yaml", NODES);
  repo.commit();
  for (const args of [
    ["plan", "repo", "--ref", "main"],
    ["plan", "repo", "--against", "HEAD"],
    ["plan", "https://127.0.0.1:1/a.git"],
  ]) {
    const { code, stderr } = await ztap.run(args, { env });
    t.equal(code, 1, args.join(" "));
    t.match(stderr, /^ztap: (.*: )?git is not found in PATH: install git 2\.30 or newer\n$/);
  }
  t.match(await ztap.run(["plan", "repo"], { env }), { code: 0, stdout: /2 to create/ });
});

t.test("validate: files, folders, standard input, and binary files", async (t) => {
  const ztap = new Ztap(t);
  ztap.write("a/n.yaml", NODES);
  t.match(await ztap.json(t, "validate", ["validate", "a", "a/n.yaml"]), { objects: { Node: 1, Workload: 1 } });
  t.match(await ztap.json(t, "validate", ["validate", "-"], { input: NODES }), { valid: true });
  const bad = await ztap.json(t, "validate", ["validate", "-"], { input: "kind: [", code: 1 });
  t.match(bad, { valid: false, diagnostics: [{ file: "<stdin>", line: 1 }] });
  const glued = await ztap.json(t, "validate", ["validate", "-"], { input: NODES.replace("---\n", ""), code: 1 });
  t.match(glued, { diagnostics: [{ code: "ZT1002", line: 5, fix: /put a line --- between two objects/ }] });
  ztap.write("binary/a.yaml", new Uint8Array([0xff, 0xfe, 0, 1]));
  for (const command of ["validate", "plan"]) {
    t.match(await ztap.run([command, "none"]), { code: 1, stderr: /none/ });
  }
  ztap.write("binary/large.yaml", "#".repeat(1024 * 1024 + 1));
  ztap.write("binary/wrong.yaml", "kind: Nodee\n");
  const unread = await ztap.json(t, "validate", ["validate", "binary"], { code: 1 });
  t.match(unread.diagnostics, [
    { code: "ZT1013", file: "binary/a.yaml", line: 1, column: 1, message: "the file is not UTF-8 text" },
    { code: "ZT1011", file: "binary/large.yaml", line: 1, message: /1048577 bytes/ },
    { code: "ZT2004", file: "binary/wrong.yaml" },
  ]);
  t.equal(unread.diagnostics.length, 3);
  for (const command of ["plan", "apply"]) {
    const refused = await ztap.json(t, "error", [command, "binary"], { code: 1 });
    const codes = refused.error.diagnostics.map(({ code }: { code: string }) => code);
    t.same([refused.error.code, ...codes], ["invalid-source", "ZT1013", "ZT1011", "ZT2004"], command);
  }
  t.match(await ztap.run(["policy", "sync", "binary/a.yaml", "--name", "p"]), { code: 1, stderr: /not UTF-8/ });
  ztap.write("links/n.yaml", NODES);
  symlinkSync("../a/n.yaml", ztap.path("links/link.yaml"));
  const linked = await ztap.json(t, "validate", ["validate", "links"]);
  t.match(linked, { valid: true, diagnostics: [{ code: "ZT5012", severity: "warning", file: "links/link.yaml" }] });
  for (const [command, file] of [
    ["validate", "links/link.yaml"],
    ["plan", "link.yaml"],
    ["apply", "link.yaml"],
  ] as const) {
    const { stdout, stderr } = await ztap.run([command, "links", ...(command === "apply" ? ["--auto-approve"] : [])]);
    t.match(stdout + stderr, `${file}:1:1 warning ZT5012 symbolic links and submodules are not followed`, command);
  }
  ztap.write("empty/README.md", "");
  ztap.write("comments/a.yaml", "# nothing yet\n---\n");
  for (const [path, message] of [
    ["empty", /nothing to validate: there is no .*\.yaml or .*\.yml file in empty/],
    ["comments", /nothing to validate: there is no object in comments\/a\.yaml; check the path/],
    ["-", /there is no object in <stdin>; check what is piped in/],
    ["a/n.yaml empty", /there is no .* file in empty/],
  ] as const) {
    const nothing = await ztap.json(t, "error", ["validate", ...path.split(" ")], { code: 1 });
    t.match(nothing, { error: { code: "not-found", message } });
  }
  t.notOk(existsSync(ztap.path("state")), "asking for what is not there makes nothing");
});
