/** The package of Fedora, RHEL and SUSE. */
import { existsSync, mkdirSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { licenceExpression } from "./licences.mjs";
import { OLDEST_GLIBC } from "./native.mjs";
import { MACHINES, run } from "./project.mjs";
import { scripts } from "./scripts.mjs";
import { CONFIGURATION } from "./tree.mjs";

/** What the package owns; a folder stands for all that is in it. */
const FILES = [
  "/usr/bin/ztap",
  "/usr/lib/ztap",
  "/usr/lib/systemd/system/ztap.service",
  "/usr/lib/systemd/system/ztap-boot.service",
  "/usr/share/doc/ztap",
  "/usr/share/man/man1/*",
  "/usr/share/bash-completion/completions/ztap",
  "/usr/share/zsh/vendor-completions/_ztap",
  "/usr/share/fish/vendor_completions.d/ztap.fish",
];

export function makeRpm(project, machine, tree, work, out) {
  const { rpm } = MACHINES[machine];
  const top = join(work, "rpm");
  mkdirSync(top);
  const spec = join(top, "ztap.spec");
  writeFileSync(spec, specFile(project, tree));
  const define = {
    _topdir: top,
    _dbpath: join(top, "db"),
    _buildhost: "ztap",
    _build_id_links: "none",
    // By -T the stream does not depend on the number of processors.
    _binary_payload: project.isQuick ? "w1.gzdio" : "w6T2.xzdio",
    use_source_date_epoch_as_buildtime: "1",
    clamp_mtime_to_source_date_epoch: "1",
    // Nothing is stripped, compressed or compiled once more.
    __os_install_post: "%{nil}",
    debug_package: "%{nil}",
    // The package is for the distributions of rpm, wherever it is made.
    _sysconfdir: "/etc",
    _docdir: "/usr/share/doc",
  };
  run(
    "rpmbuild",
    [
      ...["-bb", "--target", `${rpm}-linux`],
      ...Object.entries(define).flatMap(([name, value]) => ["--define", `${name} ${value}`]),
      spec,
    ],
    { env: { ...process.env, SOURCE_DATE_EPOCH: String(project.epoch), HOME: top, LC_ALL: "C" } },
  );
  const name = `ztap-${project.debianVersion}-${project.release}.${rpm}.rpm`;
  const file = join(out, name);
  renameSync(join(top, "RPMS", rpm, name), file);
  return file;
}

function specFile(project, tree) {
  const listed = FILES.filter((path) =>
    path.endsWith("*") ? existsSync(join(tree, path.slice(0, -2))) : existsSync(join(tree, path)),
  );
  const sections = Object.entries(scripts(project, "rpm")).map(
    ([name, text]) => `%${name}\n${text.replaceAll("%", "%%")}`,
  );
  return `Name: ztap
Version: ${project.debianVersion}
Release: ${project.release}
Summary: Zero-trust network policy from a Git repository
License: ${licenceExpression(project)}
AutoReqProv: no
Requires: glibc >= ${OLDEST_GLIBC}, libstdc++, libgcc, git-core >= 2.30
Requires(post,preun,postun): coreutils, grep, sed
Recommends: iproute

%description
ztap makes the kernels of hosts enforce exactly the network policies that stand
in a Git repository, with eBPF for each cgroup. It has a Node.js of its own.

%install
cp -a '${tree}/.' '%{buildroot}/'

%files
%defattr(-,root,root)
%dir /etc/ztap
%dir /var/cache/ztap
${CONFIGURATION.map((path) => `%config(noreplace) /${path}`).join("\n")}
${listed.join("\n")}

${sections.join("\n")}`;
}
