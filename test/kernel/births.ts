/** Births: cgroups that are made one after the other, each with a process that at once uses the network; see births.c. */
import { execFile, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import type { Test } from "tap";
import type { Sandbox } from "./sandbox.js";

/** The sources of the tests lie beside dist. */
const SOURCE = fileURLToPath(new URL("../../../test/kernel/births.c", import.meta.url));

const run = promisify(execFile);

/** The program, once it is built. */
let built: string | undefined;

/** Returns the path of the program. */
export function birthsProgram(): string {
  if (built !== undefined) return built;
  const folder = mkdtempSync(join(tmpdir(), "ztap-births-"));
  process.once("exit", () => rmSync(folder, { recursive: true, force: true }));
  const program = join(folder, "births");
  execFileSync("cc", ["-O2", "-static", "-Wall", "-Wextra", "-Werror", "-o", program, SOURCE]);
  return (built = program);
}

export interface Server {
  readonly tcp: number;
  readonly udp: number;
  readonly forbidden: number;
  /** How often anything came to the forbidden port. */
  arrived(): Promise<number>;
}

/**
 * A server that a newborn may use, at two ports, and must not use at a third. It ends with the test.
 * @param namespace path of the network namespace
 */
export async function serveBirths(t: Test, namespace: string): Promise<Server> {
  const child = spawn("nsenter", [`--net=${namespace}`, birthsProgram(), "serve"], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  const ended = once(child, "exit");
  t.teardown(async () => {
    child.stdin.end();
    await ended;
  });
  const lines = createInterface({ input: child.stdout });
  const line = async (): Promise<string> => String((await once(lines, "line"))[0]);
  const [tcp = 0, udp = 0, forbidden = 0] = (await line()).split(" ").map(Number);
  const arrived = async (): Promise<number> => {
    const answer = line();
    child.stdin.write("\n");
    return Number(await answer);
  };
  return { tcp, udp, forbidden, arrived };
}

export interface Born {
  readonly connected: number;
  readonly refused: number;
  readonly echoed: number;
  readonly unanswered: number;
  readonly leaked: number;
  readonly denied: number;
  readonly perSecond: number;
}

/** @param name of the cgroups, with one `%d` */
export async function bear(
  sandbox: Sandbox,
  place: { readonly folder: string; readonly name: string; readonly namespace: string },
  { count, perSecond }: { readonly count: number; readonly perSecond: number },
  { host, tcp, udp, forbidden }: { readonly host: string } & Pick<Server, "tcp" | "udp" | "forbidden">,
): Promise<Born> {
  const folder = join(sandbox.cgroupRoot, place.folder);
  const what = [folder, place.name, count, perSecond, host, tcp, udp, forbidden].map(String);
  // Not `ip netns exec`, which hides the cgroups.
  const { stdout } = await run("nsenter", [`--net=/run/netns/${place.namespace}`, birthsProgram(), ...what]);
  const [connected = 0, refused = 0, echoed = 0, unanswered = 0, leaked = 0, denied = 0, ms = 0] = stdout
    .trim()
    .split(" ")
    .map(Number);
  return { connected, refused, echoed, unanswered, leaked, denied, perSecond: Math.round((count * 1000) / ms) };
}
