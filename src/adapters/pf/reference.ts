/**
 * Reference: pf of macOS counts the users that want it enabled, and gives each a token. ztap's token is kept in a file,
 * so that a later agent holds the same one, and `enforcement remove` can release it. The file also names this machine's
 * node.
 */
import { chmod, readFile, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { makeFolder } from "../system/folder.js";
import { EnforcerError } from "../../interfaces/enforcer.js";
import { holdsToken, isEnabled, readToken } from "./pfctl/output.js";
import type { Pfctl } from "./pfctl/pfctl.js";

export interface Reference {
  readonly node: string;
  readonly token: string | null;
}

export class ReferenceFile {
  readonly #path: string;
  constructor(readonly folder: string) {
    this.#path = join(folder, "pf.json");
  }

  /** Returns the reference; null if there is none, or an invalid one: then another token is taken. */
  async read(): Promise<Reference | null> {
    let text: string;
    try {
      text = await readFile(this.#path, "utf8");
    } catch (error) {
      if (error instanceof Error && "code" in error && error.code === "ENOENT") return null;
      throw error;
    }
    return readReferenceText(text);
  }

  async write(reference: Reference): Promise<void> {
    makeFolder(this.folder, 0o700);
    const next = `${this.#path}.new`;
    await writeFile(next, JSON.stringify(reference), { mode: 0o600 });
    await chmod(next, 0o600);
    await rename(next, this.#path);
  }

  async remove(): Promise<void> {
    await rm(this.#path, { force: true });
  }
}

function readReferenceText(text: string): Reference | null {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return null;
  }
  if (value === null || typeof value !== "object" || !("node" in value) || typeof value.node !== "string") return null;
  const token = "token" in value && typeof value.token === "string" && /^\d+$/.test(value.token) ? value.token : null;
  return { node: value.node, token };
}

/** Returns whether pf is enabled, and whether our reference keeps it so. */
export async function readReference(
  pfctl: Pfctl,
  file: ReferenceFile,
): Promise<{ readonly isEnabled: boolean; readonly isHeld: boolean; readonly reference: Reference | null }> {
  const reference = await file.read();
  const token = reference?.token ?? null;
  const info = await pfctl.run("Reading whether pf is enabled", ["-s", "info"]);
  const held =
    token !== null && holdsToken((await pfctl.run("Listing pf's references", ["-s", "References"])).stdout, token);
  return { isEnabled: isEnabled(info.stdout), isHeld: held, reference };
}

/** Takes a reference if none is held. If it cannot be saved afterwards, it is released. */
export async function takeReference(pfctl: Pfctl, file: ReferenceFile, node: string): Promise<void> {
  const found = await readReference(pfctl, file);
  if (found.isEnabled && found.isHeld) return;
  // If pf was disabled by `pfctl -d`, it has dropped all tokens; another one is requested then.
  const { stdout, stderr } = await pfctl.run("Enabling pf", ["-E"]);
  const token = readToken(`${stdout}\n${stderr}`);
  if (token === null) throw new EnforcerError("kernel", `Enabling pf failed: pfctl -E gave no token: ${stderr}`);
  try {
    await file.write({ node, token });
  } catch (cause) {
    await pfctl.run("Giving pf's reference back", ["-X", token]);
    throw cause;
  }
}

/** Releases the reference. pf stays enabled if others hold one. */
export async function releaseReference(pfctl: Pfctl, file: ReferenceFile): Promise<void> {
  const { isHeld, reference } = await readReference(pfctl, file);
  const token = reference?.token ?? null;
  if (isHeld && token !== null) await pfctl.run("Giving pf's reference back", ["-X", token]);
  await file.remove();
}
