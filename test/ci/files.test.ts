/** What ships for CI systems: every file is read as its system reads it, and its commands are run. */
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { chmodSync, existsSync, globSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import t from "tap";
import type { Test } from "tap";
import { parseAllDocuments } from "yaml";
import { Repository } from "../fakes/repository.js";
import { NODES, policy, Ztap } from "../cli/ztap.js";
import { readAction, Runner } from "./action.js";

// Tests run from dist/test/ci.
const ROOT = fileURLToPath(new URL("../../../", import.meta.url));
const read = (root: string, path: string): string => readFileSync(join(root, path), "utf8");

/** What the YAML parser made of a file; one document without errors. */
function parseYaml(t: Test, root: string, path: string) {
  const documents = parseAllDocuments(read(root, path), { uniqueKeys: true });
  t.same(
    documents.flatMap(({ errors, warnings }) => [...errors, ...warnings]),
    [],
    path,
  );
  return Object(documents[0]?.toJS());
}

const FILES = [
  ".pre-commit-hooks.yaml",
  ...[".github/**/*.yml", "examples/**/*.yml", "examples/starter/.github/**/*.yml"].flatMap((glob) =>
    globSync(glob, { cwd: ROOT }),
  ),
];

t.test("every CI file is valid YAML, and shipped files refer only to shipped files", async (t) => {
  const ztap = new Ztap(t);
  t.ok(FILES.length >= 5, FILES.join(" "));
  for (const file of FILES) parseYaml(t, ztap.root, file);
  const action = readAction(ztap);
  t.equal(action.runs.using, "composite");
  for (const step of action.runs.steps) {
    t.equal(step.shell, "bash", "a composite action has to say so");
    t.notMatch(step.run, "${{", "what comes from outside goes through the environment");
  }
  const workflow = parseYaml(t, ztap.root, "examples/starter/.github/workflows/ztap.yml");
  t.match(workflow, {
    permissions: { contents: "read", "pull-requests": "write" },
    env: { ZTAP_VERSION: JSON.parse(read(ztap.root, "package.json")).version },
    jobs: { plan: { steps: [{}, { with: { "fetch-depth": 0 } }, { uses: "./.github/actions/ztap-plan" }] } },
  });
  t.equal((await ztap.run(["init", "new"])).code, 0);
  t.equal(
    read(ztap.folder, "new/.github/actions/ztap-plan/action.yml"),
    read(ztap.root, ".github/actions/plan/action.yml"),
  );
  const { files } = JSON.parse(read(ztap.root, "package.json"));
  for (const path of ["schemas", "examples", ".github/actions", ".pre-commit-hooks.yaml"])
    t.ok(files.includes(path), path);
});

/** Every value of `uses` in what a YAML parser made of a file. */
function usesOf(value: unknown): readonly string[] {
  if (typeof value !== "object" || value === null) return [];
  return Object.entries(value).flatMap(([key, one]) =>
    key === "uses" && typeof one === "string" ? [one] : usesOf(one),
  );
}

/** The YAML that ztap runs in CI, writes for others or shows in the documentation, by where it stands. */
function snippets(t: Test): readonly { where: string; text: string; uses: readonly string[] }[] {
  const files = FILES.map((path) => ({ where: path, text: read(ROOT, path), uses: usesOf(parseYaml(t, ROOT, path)) }));
  const pages = globSync(["*.md", "docs/**/*.md"], { cwd: ROOT }).flatMap((path) =>
    [...read(ROOT, path).matchAll(/^```ya?ml\n(.*?)^```$/gms)].map(([, text = ""]) => ({
      where: path,
      text,
      uses: parseAllDocuments(text).flatMap((document) => usesOf(document.toJS())),
    })),
  );
  return [...files, ...pages];
}

t.test(
  "every action is pinned to a commit, with its version in a comment, and to the same one everywhere",
  async (t) => {
    const pins = new Map<string, string>();
    for (const { where, text, uses } of snippets(t))
      for (const action of uses.filter((one) => !one.startsWith("./"))) {
        t.match(action, /^[\w./-]+@[0-9a-f]{40}$/, `${where}: a tag can be moved, a commit cannot`);
        const [name = ""] = action.split("@");
        for (const line of text.split("\n").filter((one) => one.includes(action))) {
          const pin = line.replace(/^[\s-]*uses: /, "");
          t.match(pin, /^\S+ # v\d+\.\d+\.\d+$/, `${where}: ${line}`);
          t.equal(pins.get(name) ?? pin, pin, `${where}: ${name} has one pin everywhere`);
          pins.set(name, pin);
        }
      }
    t.ok(pins.has("actions/checkout") && pins.has("github/codeql-action/upload-sarif"), [...pins.keys()].join(" "));
  },
);

t.test(
  "every workflow declares the permissions of its token, and only the last job of a release may write",
  async (t) => {
    const workflows = [".github/workflows", "examples/starter/.github/workflows"].flatMap((folder) =>
      globSync(`${folder}/*.yml`, { cwd: ROOT }),
    );
    t.ok(workflows.length >= 3, workflows.join(" "));
    for (const path of workflows) t.type(parseYaml(t, ROOT, path).permissions, "object", path);
    for (const path of workflows.filter((one) => one.startsWith(".github")))
      t.same(parseYaml(t, ROOT, path).permissions, { contents: "read" }, path);
    const { jobs } = parseYaml(t, ROOT, ".github/workflows/release.yml");
    const writers = Object.keys(jobs).filter((name) => jobs[name].permissions !== undefined);
    t.same(writers, ["publish"]);
    t.same(jobs.publish.permissions, { contents: "write", "id-token": "write", attestations: "write" });
    t.notOk(
      usesOf(jobs.publish).some((action) => action.startsWith("actions/checkout")),
      "it runs no code of the repository",
    );
  },
);

t.test("a release is refused if its tag is not the version of package.json", async (t) => {
  const { jobs } = parseYaml(t, ROOT, ".github/workflows/release.yml");
  const { version } = JSON.parse(read(ROOT, "package.json"));
  const script = jobs.version.steps.find(({ name }: { name?: string }) => name === "Tag is version").run;
  const run = (tag: string) =>
    spawnSync("bash", ["-eo", "pipefail", "-c", script], {
      cwd: ROOT,
      env: { ...process.env, GITHUB_REF_NAME: tag },
      encoding: "utf8",
    });
  t.match(run(`v${version}`), { status: 0, stdout: "" });
  for (const tag of [version, `v${version}-rc.1`, "v999.0.0"])
    t.match(run(tag), { status: 1, stdout: new RegExp(`^::error .*${tag}`) }, tag);
});

t.test("the starter's workflow installs only the package whose sum stands in it", async (t) => {
  const ztap = new Ztap(t);
  const { jobs, env } = parseYaml(t, ROOT, "examples/starter/.github/workflows/ztap.yml");
  const [{ run: script }] = jobs.plan.steps;
  const PACKAGE = "what a release has";
  // The commands of a hosted runner that this machine may lack: one that fetches, one that installs.
  ztap.write("bin/gh", `#!/bin/sh\nprintf '%s' '${PACKAGE}' > "$7"\n`);
  ztap.write("bin/sudo", `#!/bin/sh\necho "$@" > ../installed\n`);
  ztap.write("temp/.keep", "");
  for (const name of ["gh", "sudo"]) chmodSync(join(ztap.folder, "bin", name), 0o755);
  const run = (given: Readonly<Record<string, string>>) => {
    const PATH = `${join(ztap.folder, "bin")}:${process.env["PATH"]}`;
    const all = { ...process.env, ...env, PATH, RUNNER_TEMP: join(ztap.folder, "temp"), ...given };
    return spawnSync("bash", ["-eo", "pipefail", "-c", script], { env: all, encoding: "utf8" });
  };
  const installed = join(ztap.folder, "installed");
  const sum = (text: string): string => createHash("sha256").update(text).digest("hex");
  const ZTAP_REPOSITORY = "someone/ztap";
  t.match(run({}), { status: 1, stdout: /^::error .*set ZTAP_REPOSITORY/ });
  t.match(run({ ZTAP_REPOSITORY }), { status: 1, stdout: /ZTAP_SHA256/ });
  t.match(run({ ZTAP_REPOSITORY, ZTAP_SHA256: sum("something else") }), { status: 1 });
  t.notOk(existsSync(installed), "nothing is installed by then");
  t.match(run({ ZTAP_REPOSITORY, ZTAP_SHA256: sum(PACKAGE) }), { status: 0 });
  t.equal(readFileSync(installed, "utf8"), `dpkg --install ztap_${env.ZTAP_VERSION}-1_amd64.deb\n`);
});

t.test("CI runs `npm test`, each kernel that bin/kernels provides, and the guest with systemd", async (t) => {
  const { jobs } = parseYaml(t, ROOT, ".github/workflows/ci.yml");
  t.match(jobs.test.steps.at(-1).run, /\.ci\/run$/);
  const brought = [...read(ROOT, "bin/kernels").matchAll(/\b(\d+\.\d+):linux-image/g)].map(([, series]) => series);
  t.same(jobs.kernels.strategy.matrix.guest, [...brought, "systemd"]);
  t.match(jobs.kernels.steps.at(-1), {
    run: "npm test -- kernel/kernels",
    env: { ZTAP_KERNELS: "${{ matrix.guest }}" },
  });
});

t.test(".nvmrc, CODEOWNERS and dependabot.yml name existing versions and paths", async (t) => {
  t.equal(read(ROOT, ".nvmrc").trim(), JSON.parse(read(ROOT, "package.json")).config.node);
  const owned = read(ROOT, ".github/CODEOWNERS")
    .split("\n")
    .filter((line) => line !== "" && !line.startsWith("#"))
    .map((line) => line.split(" "));
  t.ok(owned.length > 5);
  for (const [path = "", ...owners] of owned) {
    t.ok(owners.length > 0 && owners.every((owner) => /^@[\w-]+\/[\w-]+$/.test(owner)), `${path} ${owners.join(" ")}`);
    if (path === "*") continue;
    t.ok(path.startsWith("/") && existsSync(join(ROOT, path)), `${path} exists`);
    t.equal(path.endsWith("/"), statSync(join(ROOT, path)).isDirectory(), `${path} ends as a folder's does`);
  }
  const { updates } = parseYaml(t, ROOT, ".github/dependabot.yml");
  for (const { directory, directories = [directory] } of updates)
    for (const path of directories) t.ok(existsSync(join(ROOT, path)), `${path} exists`);
});

t.test("docs/debugging.md names only existing maps, programs and metrics", async (t) => {
  const sources = ["native/**/*.{c,h}", "src/adapters/prometheus/*.ts"].flatMap((glob) =>
    globSync(glob, { cwd: ROOT }),
  );
  const known = new Set(sources.flatMap((path) => read(ROOT, path).match(/\bztap_[a-z0-9_]+/g) ?? []));
  const named = new Set(read(ROOT, "docs/debugging.md").match(/\bztap_[a-z0-9_]+/g));
  t.ok(named.size > 15, [...named].join(" "));
  t.same(
    [...named].filter((name) => !known.has(name)),
    [],
  );
});

/** A clone on a branch of its own, with `main` at the remote. */
function makeClone(t: Test) {
  const ztap = new Ztap(t);
  const remote = new Repository(ztap.path("remote.git"), { bare: true });
  const repo = new Repository(ztap.path("repo"));
  repo.write("n.yaml", NODES);
  repo.write("p.yaml", policy(80));
  repo.commit();
  repo.git("remote", "add", "origin", remote.path);
  repo.git("push", "--quiet", "origin", "main");
  repo.git("fetch", "--quiet", "origin");
  repo.git("switch", "--quiet", "-c", "feature");
  return { ztap, repo };
}

const needsJq = spawnSync("jq", ["--version"]).error === undefined ? false : "needs jq: gh has its own";

t.test(
  "the action annotates files, writes a summary, and keeps one comment up to date",
  { skip: needsJq },
  async (t) => {
    const { ztap, repo } = makeClone(t);
    const forged = { id: 1, user: { login: "mallory" }, body: "<!-- ztap plan: . -->\nAll is well." };
    const runner = new Runner(ztap, [forged]);
    const nothing = await runner.run(repo.path, {});
    t.match(nothing, {
      outputs: { changes: "false" },
      steps: { Validate: { code: 0 }, Plan: { code: 0 }, Comment: { code: 0 } },
    });
    t.equal(runner.comments.length, 1, "no comment where there is nothing to say");

    repo.write("p.yaml", policy(81));
    repo.commit();
    const changed = await runner.run(repo.path, {});
    t.match(changed, { outputs: { changes: "true" }, summary: /2 connections to open, 2 to close/ });
    t.equal(changed.steps["Plan"]?.code, 0, "changes are no failure");
    t.equal(runner.comments[1]?.body, changed.summary);

    repo.write("p.yaml", policy(81).replace("podSelector", "podSelektor"));
    const broken = await runner.run(repo.path, {});
    t.match(broken.steps["Validate"], { code: 1, stdout: /^::error file=p\.yaml,line=5,col=3,title=ZT2003 / });
    t.match(broken.steps["Plan"], { code: 1 });
    t.match(broken.outputs, { changes: "unknown" });
    t.match(runner.comments[1], { id: 2, body: /No plan was made.*podSelektor/s });

    repo.write("p.yaml", policy(80));
    repo.commit();
    await runner.run(repo.path, {});
    t.match(runner.comments[1]?.body, /\*\*No changes\.\*\*/, "an earlier comment is not left to say otherwise");
    t.same(runner.comments[0], forged, "nobody else's comment is touched");
    t.equal(runner.comments.length, 2);
  },
);

t.test("the action: fail-on-changes, a store, no comment, no permission to comment", { skip: needsJq }, async (t) => {
  const { ztap, repo } = makeClone(t);
  const runner = new Runner(ztap);
  repo.write("p.yaml", policy(81));
  repo.commit();
  const failed = await runner.run(repo.path, { "fail-on-changes": "true", comment: "false" });
  t.match(failed.steps["Plan"], { code: 1, stdout: /::error title=ztap plan::there are changes/ });
  t.equal(runner.comments.length, 0);
  const refused = await runner.run(repo.path, { token: "of a fork" });
  t.match(refused.steps["Comment"], { code: 0, stdout: /^::warning .*pull-requests: write/ });
  await ztap.run(["apply", "repo", "--auto-approve"]);
  const stored = await runner.run(repo.path, { store: `file:${ztap.store}` });
  t.match(stored, { outputs: { changes: "false" }, summary: /against revision 1/ });
  const nowhere = await runner.run(repo.path, { against: "nowhere" });
  t.match(nowhere, { outputs: { changes: "unknown" }, summary: /No plan was made.*nowhere/ });
});

t.test(
  "the action: neither a file's name nor its text becomes a command of the runner",
  { skip: needsJq },
  async (t) => {
    const { ztap, repo } = makeClone(t);
    repo.write("a\n::error title=forged::x.yaml", `kind: "\\n::error title=forged::y"\n`);
    repo.write("b\n::error title=forged::x.yaml", new Uint8Array([0xff, 0xfe, 0]));
    const ran = await new Runner(ztap).run(repo.path, {});
    for (const name of ["Validate", "Plan"]) {
      const { stdout = "", stderr = "", code } = ran.steps[name] ?? {};
      t.equal(code, 1, name);
      const outside = stdout.replace(/^::stop-commands::(\S+)\n[^]*\n::\1::$/m, "");
      t.notMatch(`${outside}${stderr}`, /^::error title=forged/m, name);
    }
  },
);

t.test("GitLab's job keeps test results and a plan, and fails if either fails", async (t) => {
  const { ztap, repo } = makeClone(t);
  const { script } = parseYaml(t, ztap.root, "examples/ci/gitlab-ci.yml").ztap;
  const run = () =>
    ztap.spawn("bash", ["-eo", "pipefail", "-c", script.join("\n")], {
      cwd: repo.path,
      env: {
        PATH: `${join(ztap.root, "bin")}:${process.env["PATH"] ?? ""}`,
        CI_MERGE_REQUEST_DIFF_BASE_SHA: repo.git("rev-parse", "origin/main"),
      },
    }).ended;
  repo.write("p.yaml", policy(81));
  t.match(await run(), { code: 0, stdout: /2 connections to open/ });
  t.match(read(repo.path, "ztap-junit.xml"), /<testsuite name="manifests" tests="2" failures="0"/);
  repo.write("p.yaml", "kind: [");
  t.match(await run(), { code: 1, stdout: /No plan was made/ });
  t.match(read(repo.path, "ztap-junit.xml"), /failures="1"/);
});

t.test("the hook for pre-commit is an existing command", async (t) => {
  const { ztap, repo } = makeClone(t);
  const [hook] = parseYaml(t, ztap.root, ".pre-commit-hooks.yaml");
  t.match(hook, { id: "ztap-validate", language: "system", pass_filenames: false });
  for (const file of ["policies/a.yaml", "b.yml", "lists/partners.cidrs"]) t.match(file, new RegExp(hook.files), file);
  const [command, ...args] = hook.entry.split(" ");
  t.equal(command, "ztap");
  t.equal((await ztap.run(args, { cwd: repo.path })).code, 0);
  repo.write(".pre-commit-config.yaml", "repos: []\n");
  repo.write(".gitlab-ci.yml", "ztap: {}\n");
  t.match(await ztap.run(args, { cwd: repo.path }), { code: 0, stdout: /^valid/ }, "their own files are no manifests");
  repo.commit();
  t.match(await ztap.run(["plan", ".", "--ref", "HEAD", "--against", "origin/main"], { cwd: repo.path }), {
    code: 0,
    stdout: /No changes/,
  });
});
