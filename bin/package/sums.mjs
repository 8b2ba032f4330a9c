/** SHA256SUMS of everything that was made, and its signature. */
import { createHash } from "node:crypto";
import { globSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { run } from "./project.mjs";

/** Of `ssh-keygen -Y verify -n`. */
export const NAMESPACE = "ztap-release";

export function makeSums(out, key) {
  const sums = globSync("*", { cwd: out })
    .sort()
    .map(
      (name) =>
        `${createHash("sha256")
          .update(readFileSync(join(out, name)))
          .digest("hex")}  ${name}\n`,
    );
  const file = join(out, "SHA256SUMS");
  writeFileSync(file, sums.join(""));
  if (key !== undefined) run("ssh-keygen", ["-Y", "sign", "-f", key, "-n", NAMESPACE, file]);
}
