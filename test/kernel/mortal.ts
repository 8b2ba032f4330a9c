/**
 * Mortal: starts, applies one ruleset and is killed, by SIGKILL, right before the step whose number it is given. With a second ruleset, it
 * begins the shadow of that one as well.
 * A step is what changes maps, storage, links or pins. Exits 0 where there are fewer.
 */
import fs from "node:fs";
import { syncBuiltinESMExports } from "node:module";
import { EbpfEnforcer } from "../../src/adapters/ebpf/enforcer.js";
import { loadNative } from "../../src/adapters/ebpf/kernel/native.js";
import type { Ruleset } from "../../src/model/ruleset.js";
import { quiet } from "./sandbox.js";

const [step = "0", text = "{}", comingText] = process.argv.slice(2);
const ruleset: Ruleset = JSON.parse(text);
const coming: Ruleset | null = comingText === undefined ? null : JSON.parse(comingText);
let left = Number(step);

function countCalls(owner: object, names: readonly string[]): void {
  for (const name of names) {
    const real: unknown = Reflect.get(owner, name);
    if (!(real instanceof Function)) throw new TypeError(name);
    Reflect.set(owner, name, (...args: unknown[]): unknown => {
      left -= 1;
      if (left < 0) process.kill(process.pid, "SIGKILL");
      return Reflect.apply(real, owner, args);
    });
  }
}

countCalls(loadNative(), [
  "loadObject",
  "mapDelete",
  "mapWrite",
  "wordStore",
  "wordIncrement",
  "linkCreate",
  "linkUpdate",
  "linkDetach",
  "pin",
  "mapSet",
  "iterCreate",
  "iterRead",
  "runEach",
]);
countCalls(fs, ["mkdirSync", "renameSync", "rmSync", "rmdirSync"]);
syncBuiltinESMExports();
const enforcer = new EbpfEnforcer({ node: ruleset.node, logger: quiet });
await enforcer.open();
await enforcer.apply(ruleset);
if (coming !== null) await enforcer.shadow?.begin(coming, ruleset, coming.digest, 0);
await enforcer.close();
