/**
 * The steps of .github/actions/plan, run as the runner of GitHub Actions runs them, with the real ztap. Only `gh` is
 * a stand-in: it keeps the comments of one pull request in a file, and refuses what GitHub would.
 */
import { chmodSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { parse } from "yaml";
import type { Result, Ztap } from "../cli/ztap.js";

interface Step {
  readonly name: string;
  readonly shell: string;
  readonly if?: string;
  readonly env: Readonly<Record<string, string>>;
  readonly run: string;
}

export interface Action {
  readonly inputs: Readonly<Record<string, { readonly description: string; readonly default: string }>>;
  readonly runs: { readonly using: string; readonly steps: readonly Step[] };
}

export function readAction(ztap: Ztap): Action {
  return parse(readFileSync(join(ztap.root, ".github/actions/plan/action.yml"), "utf8"));
}

export interface Comment {
  readonly id: number;
  readonly user: { readonly login: string };
  readonly body: string;
}

const GH = `
import { readFileSync, writeFileSync } from "node:fs";
import { spawnSync } from "node:child_process";
const words = process.argv.slice(2);
const valueOf = (flag) => words[words.indexOf(flag) + 1];
const [file, login] = [process.env.GH_COMMENTS, "github-actions[bot]"];
if (process.env.GH_TOKEN !== "secret") { console.error("HTTP 403"); process.exit(1); }
const comments = JSON.parse(readFileSync(file, "utf8"));
const path = words.find((word) => word.startsWith("repos/"));
const method = words.includes("--method") ? valueOf("--method") : "GET";
if (words[0] !== "api" || !path.startsWith("repos/o/r/issues/")) throw new Error(words.join(" "));
if (method === "GET") {
  const { stdout, stderr, status } = spawnSync("jq", ["-r", valueOf("--jq")], { input: JSON.stringify(comments), encoding: "utf8" });
  process.stdout.write(stdout);
  process.stderr.write(stderr);
  process.exit(status);
}
const body = readFileSync(valueOf("--field").replace(/^body=@/, ""), "utf8");
if (body.length > 65536) { console.error("HTTP 422: Body is too long"); process.exit(1); }
if (method === "POST") comments.push({ id: comments.length + 1, user: { login }, body });
else Object.assign(comments.find(({ id }) => path === "repos/o/r/issues/comments/" + id), { body });
writeFileSync(file, JSON.stringify(comments));
`;

export interface Ran {
  /** In order; those that did not run are missing. */
  readonly steps: Readonly<Record<string, Result>>;
  readonly outputs: Readonly<Record<string, string>>;
  readonly summary: string;
}

/** One pull request, number 7 of o/r, with `main` as its base. */
export class Runner {
  readonly #ztap: Ztap;
  readonly #action: Action;
  #runs = 0;

  constructor(ztap: Ztap, comments: readonly Comment[] = []) {
    this.#ztap = ztap;
    this.#action = readAction(ztap);
    ztap.write("gh.mjs", GH);
    ztap.write("comments.json", JSON.stringify(comments));
    const gh = ztap.write("bin/gh", `#!/bin/sh\nexec '${process.execPath}' '${ztap.path("gh.mjs")}' "$@"\n`);
    chmodSync(gh, 0o755);
  }

  get comments(): readonly Comment[] {
    return JSON.parse(readFileSync(this.#ztap.path("comments.json"), "utf8"));
  }

  async run(cwd: string, given: Readonly<Record<string, string>>): Promise<Ran> {
    this.#runs += 1;
    const [output, summary] = [`output-${this.#runs}`, `summary-${this.#runs}`].map((name) =>
      this.#ztap.write(name, ""),
    );
    const defaults = Object.entries(this.#action.inputs).map(([name, input]) => [name, input.default] as const);
    const inputs = {
      ...Object.fromEntries(defaults),
      token: "secret",
      ztap: join(this.#ztap.root, "bin/ztap"),
      ...given,
    };
    const steps: Record<string, Result> = {};
    for (const step of this.#action.runs.steps) {
      const known = { ...context(inputs), ...outputsOf(output ?? "") };
      if (step.if !== undefined && !holds(step.if, known)) continue;
      const script = this.#ztap.write("step.sh", step.run);
      const env = Object.fromEntries(Object.entries(step.env).map(([name, text]) => [name, fill(text, known)]));
      steps[step.name] = await this.#ztap.spawn("bash", ["--noprofile", "--norc", "-eo", "pipefail", script], {
        cwd,
        env: {
          ...env,
          PATH: `${this.#ztap.path("bin")}:${process.env["PATH"] ?? ""}`,
          GH_COMMENTS: this.#ztap.path("comments.json"),
          GITHUB_REPOSITORY: "o/r",
          GITHUB_OUTPUT: output ?? "",
          GITHUB_STEP_SUMMARY: summary ?? "",
          RUNNER_TEMP: this.#ztap.folder,
          TMPDIR: this.#ztap.folder,
        },
      }).ended;
    }
    const outputs = Object.entries(outputsOf(output ?? "")).map(([name, value]) => [
      name.split(".").at(-1) ?? "",
      value,
    ]);
    return { steps, outputs: Object.fromEntries(outputs), summary: readFileSync(summary ?? "", "utf8") };
  }
}

type Known = Readonly<Record<string, string>>;

function context(inputs: Known): Known {
  return {
    ...Object.fromEntries(Object.entries(inputs).map(([name, value]) => [`inputs.${name}`, value])),
    "github.base_ref": "main",
    "github.event.pull_request.number": "7",
    "steps.plan.outputs.changes": "",
    "steps.plan.outputs.markdown": "",
  };
}

function outputsOf(file: string): Known {
  const lines = readFileSync(file, "utf8")
    .split("\n")
    .filter((line) => line !== "");
  return Object.fromEntries(
    lines.map((line) => {
      const at = line.indexOf("=");
      return [`steps.plan.outputs.${line.slice(0, at)}`, line.slice(at + 1)];
    }),
  );
}

/** @throws where the runner would put an empty text in place of something that it does not know */
function valueOf(name: string, known: Known): string {
  const value = known[name];
  if (value === undefined) throw new Error(`nothing is known of ${name}`);
  return value;
}

function fill(text: string, known: Known): string {
  return text.replace(/\$\{\{ ([\w.-]+) \}\}/g, (_, name: string) => valueOf(name, known));
}

/** Conditions are made of comparisons with a text, `!cancelled()`, `&&`, and `||` in brackets. */
function holds(condition: string, known: Known): boolean {
  const inner = /^\$\{\{ (.*) \}\}$/.exec(condition)?.[1] ?? "";
  return inner.split(" && ").every((part) =>
    part
      .replace(/^\((.*)\)$/, "$1")
      .split(" || ")
      .some((term) => {
        if (term === "!cancelled()") return true;
        const [, name = "", operator = "", text = ""] = /^([\w.-]+) (==|!=) '(.*)'$/.exec(term) ?? [];
        return (valueOf(name, known) === text) === (operator === "==");
      }),
  );
}
