/**
 * Runs pfctl, the only program that this backend starts. It gets arguments and standard input, never a shell command;
 * output.ts parses its output.
 */
import { spawn } from "node:child_process";
import { EnforcerError } from "../../../interfaces/enforcer.js";
import { ANCHOR } from "../render/names.js";

/** The full path: root's agent runs nothing that PATH finds. */
export const PFCTL = "/sbin/pfctl";

/** Lines that it prints at every call on a macOS without ALTQ. */
const NOISE =
  /^(No ALTQ support in kernel|ALTQ related functions disabled|pfctl: Use of -f option.*|See \/etc\/pf\.conf for further details\.)$/;
const NOISE_PART = "present in the main ruleset";
const NO_ANCHOR = /DIOCGETRULES?: Invalid argument|anchor .{0,200}does not exist|No such process/i;
const MAX_OUTPUT = 64 * 1024 * 1024;
const SHOWN_LINES = 3;

export interface Answer {
  readonly stdout: string;
  /** Without the lines that it always prints. */
  readonly stderr: string;
}

export class Pfctl {
  constructor(readonly program: string = PFCTL) {}

  /**
   * Runs pfctl.
   * @throws EnforcerError `unsupported` without the program, `not-permitted` without root, else `kernel`
   */
  async run(what: string, args: readonly string[], input = ""): Promise<Answer> {
    const { code, stdout, stderr } = await this.#spawn(args, input);
    const said = stderr
      .split("\n")
      .map((line) => line.trim())
      .filter((line) => line !== "" && !NOISE.test(line) && !line.includes(NOISE_PART));
    if (code === 0) return { stdout, stderr: said.join("\n") };
    const reason = said.slice(0, SHOWN_LINES).join("; ");
    if (/permission denied|operation not permitted/i.test(reason))
      throw new EnforcerError("not-permitted", `${what} needs root: ${this.program} said: ${reason}`);
    throw new EnforcerError(
      "kernel",
      `${what} failed: ${this.program} ended with ${code ?? "a signal"}${reason === "" ? "" : `: ${reason}`}`,
    );
  }

  /** The same, within ztap's anchor. */
  async inAnchor(what: string, args: readonly string[], input = ""): Promise<Answer> {
    return this.run(what, ["-a", ANCHOR, ...args], input);
  }

  /** Returns the content of the anchor; empty if neither the main ruleset nor a load has created it yet. */
  async readAnchor(what: string, args: readonly string[]): Promise<string> {
    try {
      return (await this.inAnchor(what, args)).stdout;
    } catch (error) {
      if (error instanceof EnforcerError && error.code === "kernel" && NO_ANCHOR.test(error.message)) return "";
      throw error;
    }
  }

  #spawn(args: readonly string[], input: string): Promise<{ code: number | null; stdout: string; stderr: string }> {
    return new Promise((resolve, reject) => {
      const child = spawn(this.program, [...args], { stdio: ["pipe", "pipe", "pipe"], env: { LC_ALL: "C" } });
      const output = { stdout: "", stderr: "" };
      for (const name of ["stdout", "stderr"] as const) {
        child[name].setEncoding("utf8").on("data", (chunk: string) => {
          output[name] += chunk;
          if (output[name].length > MAX_OUTPUT) child.kill("SIGKILL");
        });
      }
      // A program that ends before it has read everything prints the reason on stderr.
      child.stdin.on("error", () => undefined).end(input);
      child.on("error", (cause) => {
        const isMissing = "code" in cause && cause.code === "ENOENT";
        const message = isMissing
          ? `there is no ${this.program} on this machine: pf is what macOS enforces with`
          : `${this.program} cannot be started: ${cause.message}`;
        reject(new EnforcerError(isMissing ? "unsupported" : "kernel", message, { cause }));
      });
      child.on("close", (code) => resolve({ code, ...output }));
    });
  }
}
