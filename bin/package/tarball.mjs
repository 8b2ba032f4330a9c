/** The same files as a tar archive, to unpack into `/` where there is neither dpkg nor rpm. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { run } from "./project.mjs";

export function makeTarball(project, machine, tree, work, out) {
  const file = join(out, `ztap-${project.version}-linux-${machine}.tar.xz`);
  const plain = join(work, "tree.tar");
  writeTar(tree, plain, project.epoch);
  writeFileSync(file, compress(project, plain));
  return file;
}

/** In blocks, whose limits do not depend on the number of processors. */
function compress(project, plain) {
  const level = project.isQuick ? "-0" : "-6";
  return run("xz", ["--format=xz", level, "-T2", "--block-size=24MiB", "--stdout", plain], { maxBuffer: 2 ** 30 });
}

/** Writes a tar archive that depends on the files alone, their owner aside. */
export function writeTar(tree, target, epoch, from = ".") {
  run("tar", [
    ...["--create", "--file", target, "--directory", tree, "--format=gnu", "--sort=name", `--mtime=@${epoch}`],
    ...["--owner=0", "--group=0", "--numeric-owner", from],
  ]);
}
