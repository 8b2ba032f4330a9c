/** The scripts that dpkg and rpm run: what an installation, an upgrade and a removal do besides the files. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { TEMPLATES } from "./tree.mjs";

const NAMES = { deb: ["preinst", "postinst", "prerm", "postrm"], rpm: ["post", "preun", "postun"] };

/** @returns the text of each script by its name */
export function scripts(project, form) {
  const setup = project.commands.includes("setup")
    ? " `ztap setup` configures it."
    : " /etc/ztap/config.yaml configures it.";
  const functions = read("functions").replace("@SETUP@", setup.replaceAll("`", "\\`"));
  return Object.fromEntries(NAMES[form].map((name) => [name, `${functions}\n${read(`${form}-${name}`)}`]));
}

function read(name) {
  return readFileSync(join(TEMPLATES, "scripts", `${name}.sh`), "utf8");
}
