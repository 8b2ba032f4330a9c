/** Managed: a service with sockets of the cgroup of its manager, which made them (manager.ts). */
import { spawn } from "node:child_process";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import type { Test } from "tap";
import type { Toleration } from "../../src/model/objects.js";
import type { Ruleset } from "../../src/model/ruleset.js";
import type { Sandbox } from "./sandbox.js";

export interface Managed {
  /** The port of the listener that the service inherits. */
  readonly inherited: number;
  /** The port of the listener whose connections the service gets in messages. */
  readonly handed: number;
  /** Gives the service a command (manager.ts), and resolves when it was obeyed. */
  command(line: string): Promise<void>;
}

/** Starts a manager in its cgroup, and its service in another. It ends with the test. */
export async function manage(
  t: Test,
  sandbox: Sandbox,
  place: { readonly cgroup: string; readonly manager: string; readonly namespace: string },
): Promise<Managed> {
  const procs = (path: string): string => join(sandbox.cgroupRoot, path, "cgroup.procs");
  const script = fileURLToPath(new URL("./manager.js", import.meta.url));
  const enter = `echo $$ > "$1" && exec 9> "$2" && exec ip netns exec "$3" "$4" "$5" 9`;
  const args = [procs(place.manager), procs(place.cgroup), place.namespace, process.execPath, script];
  const child = spawn("sh", ["-c", enter, "sh", ...args], { stdio: ["pipe", "pipe", "inherit"] });
  const ended = new Promise((resolve) => child.once("exit", resolve));
  t.teardown(async () => {
    child.stdin.end();
    await ended;
  });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const answer = async (): Promise<string> => {
    const { value, done } = await lines.next();
    if (done === true) throw new Error("the manager ended");
    return value;
  };
  const [inherited = 0, handed = 0] = (await answer()).split(" ").map(Number);
  const command = async (line: string): Promise<void> => {
    child.stdin.write(`${line}\n`);
    await answer();
  };
  return { inherited, handed, command };
}

/** Returns the ruleset in which these workloads, or all of them, tolerate it. */
export function tolerating(ruleset: Ruleset, tolerates: readonly Toleration[], workloads?: readonly string[]): Ruleset {
  const isMeant = (workload: string): boolean => workloads?.includes(workload) ?? true;
  return {
    ...ruleset,
    digest: `${ruleset.digest}${tolerates.join()}`,
    subjects: ruleset.subjects.map((subject) => (isMeant(subject.workload) ? { ...subject, tolerates } : subject)),
  };
}
