/** A bill of materials in CycloneDX: what the packages for a machine contain, with its versions and licences. */
import { createHash } from "node:crypto";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { joined, LINKED, linkedVersion, lockedModules, RUNTIME } from "./licences.mjs";

/** Writes one for the packages; `isImage`: one for the image, which has parts of Debian 12 besides. */
export function makeSbom(project, machine, out, isImage = false) {
  const { manifest, version, epoch } = project;
  const components = [
    ...(isImage ? systemOf(project, machine) : []),
    {
      ...component(
        "node",
        manifest.config.node,
        `pkg:generic/node@${manifest.config.node}?arch=${machine}`,
        joined(RUNTIME),
      ),
      description: "Node.js, stripped",
    },
    ...LINKED.map(({ name, license }) => {
      const linked = linkedVersion(project, name, machine).version;
      const purl = `pkg:deb/debian/${encodeURIComponent(name)}@${encodeURIComponent(linked)}?arch=${machine}`;
      return { ...component(name, linked, purl, license), description: "linked into dist/native/ztap.node" };
    }),
    ...lockedModules(project).map(({ name, version, license, integrity }) => ({
      ...component(name, version, `pkg:npm/${name.replace("@", "%40")}@${version}`, license),
      ...(integrity === undefined ? {} : { hashes: [hashOf(integrity)] }),
    })),
  ].sort((a, b) => (a["bom-ref"] < b["bom-ref"] ? -1 : a["bom-ref"] > b["bom-ref"] ? 1 : 0));
  // One package may stand in several folders.
  const distinct = [...new Map(components.map((one) => [one["bom-ref"], one])).values()];
  const main = component("ztap", version, `pkg:generic/ztap@${version}?arch=${machine}`, manifest.license);
  const bom = {
    bomFormat: "CycloneDX",
    specVersion: "1.5",
    serialNumber: `urn:uuid:${uuidOf(JSON.stringify(distinct) + main["bom-ref"])}`,
    version: 1,
    metadata: {
      timestamp: new Date(epoch * 1000).toISOString(),
      component: { ...main, type: "application", description: manifest.description },
    },
    components: distinct,
    dependencies: [{ ref: main["bom-ref"], dependsOn: distinct.map((one) => one["bom-ref"]) }],
  };
  writeFileSync(
    join(out, `ztap-${version}-linux-${machine}${isImage ? ".oci" : ""}.cdx.json`),
    `${JSON.stringify(bom, null, 2)}\n`,
  );
}

/** Their licences stand in the image, in usr/share/doc. */
function systemOf({ versions }, machine) {
  return versions
    .filter((one) => one.image === `image-${machine}`)
    .map(({ name, version }) => {
      const purl = `pkg:deb/debian/${encodeURIComponent(name)}@${encodeURIComponent(version)}?arch=${machine}&distro=bookworm`;
      return { type: "library", "bom-ref": purl, name, version, purl };
    });
}

function component(name, version, purl, license) {
  const isExpression = /\s/.test(license);
  return {
    type: "library",
    "bom-ref": purl,
    name,
    version,
    purl,
    licenses: [isExpression ? { expression: license.replace(/^\((.*)\)$/, "$1") } : { license: { id: license } }],
  };
}

/** npm's integrity is base64, CycloneDX has hexadecimal. */
function hashOf(integrity) {
  const [, size, sum] = /^sha(\d+)-(.*)$/.exec(integrity);
  return { alg: `SHA-${size}`, content: Buffer.from(sum, "base64").toString("hex") };
}

/** Depends on the content alone, so that two builds have the same. */
function uuidOf(text) {
  const sum = createHash("sha256").update(text).digest("hex");
  return `${sum.slice(0, 8)}-${sum.slice(8, 12)}-5${sum.slice(13, 16)}-a${sum.slice(17, 20)}-${sum.slice(20, 32)}`;
}
