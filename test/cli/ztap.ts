/**
 * The built ./bin/ztap as a child process, in a folder of the test's own: what it prints, how it
 * ends, and whether its documents keep to their schemas. What was started is ended with the test.
 */
import { spawn, spawnSync, type ChildProcess, type SpawnOptions } from "node:child_process";
import {
  chmodSync,
  chownSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { Ajv2020 } from "ajv/dist/2020.js";
import type { Test } from "tap";
import { waitUntil } from "../wait.js";

// Tests run from dist/test/cli.
const ROOT = fileURLToPath(new URL("../../..", import.meta.url));
const ZTAP = join(ROOT, "bin/ztap");
/** Nobody, on every Debian. */
export const NOBODY = 65534;

export interface Result {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface RunOptions {
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
  readonly input?: string;
  /** Runs as this user in place of root. */
  readonly uid?: number;
  /** A script that starts processes of its own: they end with it where the test ends it. */
  readonly isScript?: boolean;
  /** Keeps standard input open for `type`. */
  readonly isInteractive?: boolean;
}

const ajv = new Ajv2020({ strict: true });
const outputs = join(ROOT, "schemas/output");
for (const name of readdirSync(outputs)) ajv.addSchema(JSON.parse(readFileSync(join(outputs, name), "utf8")));

/** Why a document does not keep to the schema; empty where it does. */
export function schemaErrors(schema: string, document: unknown): string {
  const validate = ajv.getSchema(`${schema}.schema.json`);
  if (validate === undefined) throw new Error(`there is no schema ${schema}`);
  return validate(document) === true ? "" : ajv.errorsText(validate.errors);
}

/** An agent that polls and checks all the time, and enforces nothing. */
export const AGENT = [
  "agent",
  "--backend",
  "none",
  "--listen",
  "off",
  "--source-interval",
  "50ms",
  "--check-interval",
  "50ms",
];

/** A process that goes on until it is stopped. */
export class Running {
  stdout = "";
  stderr = "";
  readonly ended: Promise<Result>;
  #isOver = false;

  constructor(
    readonly child: ChildProcess,
    readonly hasGroup = false,
  ) {
    child.stdout?.setEncoding("utf8").on("data", (chunk: string) => (this.stdout += chunk));
    child.stderr?.setEncoding("utf8").on("data", (chunk: string) => (this.stderr += chunk));
    this.ended = new Promise((resolve, reject) => {
      child.once("error", reject);
      child.once("close", (code, signal) => {
        this.#isOver = true;
        resolve({ code, signal, stdout: this.stdout, stderr: this.stderr });
      });
    });
  }

  get isOver(): boolean {
    return this.#isOver;
  }

  /** Waits for a text on either stream. @throws where the process ends without it */
  async says(text: string | RegExp): Promise<void> {
    const matches = () => {
      const all = this.stdout + this.stderr;
      return typeof text === "string" ? all.includes(text) : text.test(all);
    };
    await waitUntil(() => this.stdout + this.stderr, { is: () => this.#isOver || matches(), what: String(text) });
    if (!matches()) throw new Error(`ended without saying ${String(text)}:\n${this.stdout}${this.stderr}`);
  }

  /** Writes a line to the standard input of an interactive process. */
  type(line: string): void {
    this.child.stdin?.write(`${line}\n`);
  }

  async stop(signal: NodeJS.Signals = "SIGTERM"): Promise<Result> {
    if (this.hasGroup && this.child.pid !== undefined) process.kill(-this.child.pid, signal);
    else this.child.kill(signal);
    return this.ended;
  }
}

export class Ztap {
  readonly folder: string;
  readonly store: string;
  readonly #running = new Set<Running>();

  constructor(t: Test) {
    this.folder = mkdtempSync(join(tmpdir(), `ztap-cli-${process.pid}-`));
    // Other users' processes of the test have to get to what is theirs below it.
    chmodSync(this.folder, 0o755);
    this.store = join(this.folder, "store");
    t.teardown(async () => {
      for (const one of this.#running) if (!one.isOver) await one.stop("SIGKILL");
      rmSync(this.folder, { recursive: true, force: true });
    });
  }

  get root(): string {
    return ROOT;
  }

  /** A home of that user's own. */
  homeOf(uid: number): string {
    const home = this.path(`home-${uid}`);
    mkdirSync(home);
    chownSync(home, uid, uid);
    return home;
  }

  /** Whether the checkout lies where that user can run it from. */
  isReadableBy(uid: number): boolean {
    return spawnSync("test", ["-x", ZTAP], { uid, gid: uid, cwd: "/" }).status === 0;
  }

  path(...parts: readonly string[]): string {
    return join(this.folder, ...parts);
  }

  write(path: string, content: string | Uint8Array): string {
    const file = this.path(path);
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, content);
    return file;
  }

  get env(): Record<string, string> {
    return {
      PATH: process.env["PATH"] ?? "",
      HOME: this.folder,
      TERM: "xterm",
      ZTAP_STORE: `file:${this.store}`,
      ZTAP_STATE_DIR: this.path("state"),
      ZTAP_CONFIG: "/dev/null",
      GIT_CONFIG_GLOBAL: "/dev/null",
    };
  }

  start(args: readonly string[], options: RunOptions = {}): Running {
    return this.spawn(ZTAP, args, options);
  }

  spawn(
    program: string,
    args: readonly string[],
    { env = {}, cwd = this.folder, input, uid, isScript = false, isInteractive = false }: RunOptions = {},
  ): Running {
    const spawnOptions: SpawnOptions = {
      cwd,
      env: { ...this.env, ...env },
      stdio: [input === undefined && !isInteractive ? "ignore" : "pipe", "pipe", "pipe"],
      detached: isScript,
      ...(uid === undefined ? {} : { uid, gid: uid }),
    };
    const running = new Running(spawn(program, args, spawnOptions), isScript);
    this.#running.add(running);
    running.child.stdin?.on("error", () => undefined);
    if (!isInteractive) running.child.stdin?.end(input);
    return running;
  }

  run(args: readonly string[], options: RunOptions = {}): Promise<Result> {
    return this.start(args, options).ended;
  }

  /** Runs with --json; the document has been held against its schema. */
  async json(t: Test, schema: string, args: readonly string[], options: RunOptions & { code?: number } = {}) {
    const result = await this.run([...args, "--json"], options);
    t.equal(result.code, options.code ?? 0, `${args.join(" ")}: ${result.stderr}`);
    const document: unknown = JSON.parse(result.stdout);
    t.equal(schemaErrors(schema, document), "", `${args.join(" ")} keeps to ${schema}.schema.json`);
    // What is named in an assertion is what is checked.
    return Object(document);
  }

  /** `cluster status`, while an agent may still have to make the store: nothing before that. */
  async status(t: Test, options: RunOptions = {}) {
    const result = await this.run(["cluster", "status", "--json"], options);
    const document: unknown = JSON.parse(result.stdout);
    const isMissing = result.code === 1 && Object(document).error?.code === "not-found";
    const schema = isMissing ? "error" : "cluster-status";
    t.equal(schemaErrors(schema, document), "", `cluster status keeps to ${schema}.schema.json`);
    if (!isMissing) t.equal(result.code, 0, result.stderr);
    return Object(isMissing ? {} : document);
  }

  /** On a pseudo-terminal: types what is given each time that the question stands there. */
  async onTerminal(
    args: readonly string[],
    typed: string,
    env: Readonly<Record<string, string>> = {},
    columns = 80,
  ): Promise<Result> {
    const words = [ZTAP, ...args].map((word) => `'${word}'`).join(" ");
    const command = `stty cols ${columns}; exec ${words}`;
    const child = spawn("script", ["-qefc", command, "/dev/null"], {
      cwd: this.folder,
      env: { ...this.env, ...env },
      stdio: ["pipe", "pipe", "pipe"],
    });
    const running = new Running(child);
    this.#running.add(running);
    if (typed !== "") {
      await running.says("is accepted: ");
      child.stdin.write(typed);
    }
    const result = await running.ended;
    child.stdin.destroy();
    return result;
  }
}

export const NODES = `apiVersion: ztap/v1
kind: Node
metadata: { name: n1 }
spec: { address: "127.0.0.1:9470" }
---
apiVersion: ztap/v1
kind: Workload
metadata: { name: web, labels: { app: web } }
spec: { node: n1, cgroup: ztap-cli-test/web, addresses: ["10.0.0.1"] }
`;

export const policy = (port: number, name = "p") => `apiVersion: ztap/v1
kind: NetworkPolicy
metadata: { name: ${name} }
spec:
  podSelector: { matchLabels: { app: web } }
  ingress: [{ ports: [{ port: ${port}, protocol: TCP }] }]
`;

/** Escape sequences, and every other control character that a terminal acts upon. */
export const CONTROLS = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u202e]/;
