/** What `npm run demo` and `npm run cluster` print, without what differs from run to run. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { Running, Ztap } from "../cli/ztap.js";

/** The order matters: an id is a part of a folder, and a short hash could be a part of either. */
const VARYING: readonly (readonly [RegExp, string])[] = [
  [/\/\S*\/ztap-(?:demo-|c)\d+-\w{6}/g, "FOLDER"],
  [/ztap-(demo-|c)\d+/g, "ztap-$1PID"],
  [/\d{4}-\d\d-\d\dT[\d:.]+Z/g, "TIME"],
  [/\b[0-9a-f]{40}\b/g, "COMMIT"],
  [/\b[0-9a-f]{12}\b/g, "COMMIT"],
  [/ after \d+ ms$/gm, " after N ms"],
  [/\b\d+ \w+ ago +/g, "N s ago  "],
  // The last columns of a list of workloads: the first of them is as wide as the id.
  [/(Pattern) +(Found .*)$/gm, "$1  $2"],
  [/(cgroup ztap-\S+) +(\d+ +\d+) +\d+ m?s$/gm, "$1  $2  N s"],
  // Below the table: what has troubled a node, now or at its last attempt.
  [/^\n(?:node-\d: .*\n)+/gm, ""],
  // Any node may lead.
  // Refused, or no answer in time: that depends on how busy the machine is.
  [/(has no majority: )[^;\n]+(?=; enforcement)/g, "$1REASON"],
  [/^Leader( +)node-\d \(10\.77\.0\.\d:/gm, "Leader$1node-N (10.77.0.N:"],
  [/^(node-\d +\S+ +)(?:leader|follower|-) +/gm, "$1ROLE  "],
  // Differences may be healed at once or one after the other; the message is of the last time.
  [/\b(InSync)( +\S+ +TIME)?( .*)?$/gm, "$1$2"],
  [/\d+ packets( denied)?.*$/gm, "N packets$1"],
  [/ +$/gm, ""],
];

export function normalize(output: string): string {
  return VARYING.reduce((text, [pattern, replacement]) => text.replace(pattern, replacement), output);
}

/**
 * Starts what a script of package.json runs once the checkout is set up.
 * @throws where the script does not begin with the set-up
 */
export function startScript(ztap: Ztap, name: string, options: { readonly isInteractive?: boolean } = {}): Running {
  const { scripts } = JSON.parse(readFileSync(join(ztap.root, "package.json"), "utf8"));
  const [setup, ...rest] = String(scripts[name]).split(" && ");
  if (setup !== "sh bin/setup" || rest.length !== 1) throw new Error(`${name} is not "sh bin/setup && COMMAND"`);
  return ztap.spawn("sh", ["-c", `exec ${rest.join("")}`], { cwd: ztap.root, ...options });
}
