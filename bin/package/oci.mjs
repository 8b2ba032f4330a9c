/**
 * An image for container runtimes, as an archive of an OCI image layout (image-spec 1.0): a layer with the parts of Debian 12 that ztap
 * needs, and one with ztap. It is larger than a package, since it has its C library and its git inside.
 */
import { createHash } from "node:crypto";
import { globSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { licenceExpression } from "./licences.mjs";
import { run } from "./project.mjs";
import { writeTar } from "./tarball.mjs";

/** busybox' commands that bin/ztap, git and people in the container ask for. */
const COMMANDS =
  "sh cat chmod cp cut date df dirname du echo env find grep head hostname id kill ln ls mkdir mv nsenter ps readlink rm rmdir sed sleep sort tail tar test touch tr true uname vi wc";
const TYPE = "application/vnd.oci.image";

export function makeOci(project, machine, tree, work, out) {
  const layout = join(work, "oci");
  mkdirSync(join(layout, "blobs/sha256"), { recursive: true });
  const layers = [layer(project, laySystem(project, machine, work), layout, work), layer(project, tree, layout, work)];
  const created = new Date(project.epoch * 1000).toISOString();
  const config = addJson(layout, `${TYPE}.config.v1+json`, {
    created,
    architecture: machine,
    os: "linux",
    config: {
      Env: ["PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8"],
      Entrypoint: ["/usr/bin/ztap"],
      Cmd: ["agent"],
      Labels: {
        "org.opencontainers.image.title": "ztap",
        "org.opencontainers.image.version": project.version,
        // Of the parts of Debian: usr/share/doc/*/copyright.
        "org.opencontainers.image.licenses": licenceExpression(project, ["LicenseRef-Debian-12-copyright-files"]),
        "org.opencontainers.image.description": project.manifest.description,
      },
    },
    rootfs: { type: "layers", diff_ids: layers.map(({ plain }) => plain) },
    history: ["Debian 12: C library, git, ssh, busybox", `ztap ${project.version}`].map((text) => ({
      created,
      created_by: text,
    })),
  });
  const manifest = addJson(layout, `${TYPE}.manifest.v1+json`, {
    schemaVersion: 2,
    mediaType: `${TYPE}.manifest.v1+json`,
    config,
    layers: layers.map(({ blob }) => blob),
  });
  writeFileSync(join(layout, "oci-layout"), JSON.stringify({ imageLayoutVersion: "1.0.0" }));
  const named = {
    ...manifest,
    platform: { architecture: machine, os: "linux" },
    annotations: { "org.opencontainers.image.ref.name": `ztap:${project.version}` },
  };
  const index = { schemaVersion: 2, mediaType: `${TYPE}.index.v1+json`, manifests: [named] };
  writeFileSync(join(layout, "index.json"), JSON.stringify(index));
  const file = join(out, `ztap-${project.version}-linux-${machine}.oci.tar`);
  writeTar(layout, file, project.epoch);
  rmSync(layout, { recursive: true });
  return file;
}

/** The parts of Debian 12, without what no process reads. */
function laySystem(project, machine, work) {
  const system = join(work, "system");
  run("cp", ["--archive", join(project.packaging, machine, "system"), system]);
  for (const path of globSync("usr/share/{doc/*/*,man,info,locale,lintian,bug,gitweb,perl5}", { cwd: system }))
    if (!path.endsWith("/copyright")) rmSync(join(system, path), { recursive: true, force: true });
  for (const name of COMMANDS.split(" ")) symlinkSync("/bin/busybox", join(system, "bin", name));
  const authorities = globSync("usr/share/ca-certificates/mozilla/*.crt", { cwd: system }).sort();
  const write = (path, text) => {
    mkdirSync(join(system, path, ".."), { recursive: true });
    writeFileSync(join(system, path), text, { mode: 0o644 });
  };
  write(
    "etc/ssl/certs/ca-certificates.crt",
    authorities.map((path) => readFileSync(join(system, path), "utf8")).join(""),
  );
  write("etc/passwd", "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/bin/false\n");
  write("etc/group", "root:x:0:\nnogroup:x:65534:\n");
  for (const path of ["proc", "sys", "dev", "run", "var/lib/ztap"]) mkdirSync(join(system, path), { recursive: true });
  return system;
}

function layer(project, folder, layout, work) {
  const plain = join(work, "layer.tar");
  writeTar(folder, plain, project.epoch);
  const bytes = readFileSync(plain);
  rmSync(plain);
  const zipped = gzipSync(bytes, { level: project.isQuick ? 1 : 9 });
  zipped[9] = 3;
  return { plain: digest(bytes), blob: add(layout, `${TYPE}.layer.v1.tar+gzip`, zipped) };
}

function addJson(layout, mediaType, value) {
  return add(layout, mediaType, Buffer.from(JSON.stringify(value)));
}

function add(layout, mediaType, bytes) {
  const sum = digest(bytes);
  writeFileSync(join(layout, "blobs/sha256", sum.slice("sha256:".length)), bytes);
  return { mediaType, digest: sum, size: bytes.length };
}

function digest(bytes) {
  return `sha256:${createHash("sha256").update(bytes).digest("hex")}`;
}
