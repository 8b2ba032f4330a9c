/** Wiring of a machine's enforcement for commands without an agent: show, remove, render, set up. */
import { existsSync } from "node:fs";
import { rm } from "node:fs/promises";
import { EBPF_CAPACITY } from "../adapters/ebpf/lower/capacity.js";
import type { InspectedMachine, Removed, RenderedRuleset, SetupPlan, SetupResult } from "../model/inspection.js";
import type { Ruleset } from "../model/ruleset.js";
import { suggest } from "../model/suggest.js";
import { OperationError } from "../model/operation-error.js";
import type { Settings } from "../settings/settings.js";
import { EnforcerError } from "../interfaces/enforcer.js";

/**
 * Reads the machine's enforcement.
 * @throws OperationError `unsupported`, EnforcerError `not-permitted`
 */
export async function inspectMachine(settings: Settings): Promise<InspectedMachine> {
  if (requireRoot("enforcement show") === "pf") {
    const { inspectPf } = await import("../adapters/pf/inspect.js");
    return { nodes: [], pf: await inspectPf({ stateDir: settings.stateDir }) };
  }
  const { inspectEnforcement } = await import("../adapters/ebpf/inspect.js");
  return { nodes: inspectEnforcement({ pinRoot: settings.pinRoot }), pf: null };
}

/**
 * Lists the enforcement that `removeEnforcement` would remove.
 * @param node null for every node of this machine
 * @throws OperationError `not-found` for a node that this machine neither enforces nor keeps a last-good state for,
 * while it does for others
 */
export async function listRemovable(settings: Settings, node: string | null): Promise<readonly Removed[]> {
  const held = await listHeld(settings, requireRoot("enforcement remove"));
  if (node === null) return held;
  const found = held.filter((one) => one.node === node);
  const { lastGoodPath } = await import("../adapters/disk/last-good.js");
  if (found.length > 0 || held.length === 0 || existsSync(lastGoodPath(settings.stateDir, node))) return found;
  const names = held.map((one) => one.node);
  const meant = suggest(node, names);
  const hint = meant === undefined ? `what is enforced is for ${names.join(", ")}` : `did you mean ${meant}?`;
  throw new OperationError("not-found", `nothing is enforced for a node ${node} on this machine; ${hint}`);
}

async function listHeld({ pinRoot, stateDir }: Settings, backend: "ebpf" | "pf"): Promise<readonly Removed[]> {
  if (backend === "pf") {
    const { listRemovablePf } = await import("../adapters/pf/inspect.js");
    return listRemovablePf({ stateDir });
  }
  const { listRemovableNodes: list } = await import("../adapters/ebpf/remove.js");
  return list({ pinRoot });
}

/**
 * Removes the enforcement.
 * @param node null for every node of this machine
 */
export async function removeEnforcement(settings: Settings, node: string | null): Promise<readonly Removed[]> {
  const backend = requireRoot("enforcement remove");
  const { announcedPath, lastGoodFolder, lastGoodPath } = await import("../adapters/disk/last-good.js");
  const removed = backend === "pf" ? await removeFromPf(settings, node) : await removeFromKernel(settings, node);
  // A start without the store must not restore enforcement that was removed on purpose.
  const path = node === null ? lastGoodFolder(settings.stateDir) : lastGoodPath(settings.stateDir, node);
  for (const one of node === null ? [path] : [path, announcedPath(path)])
    await rm(one, { recursive: true, force: true });
  return removed;
}

async function removeFromKernel({ pinRoot }: Settings, node: string | null): Promise<readonly Removed[]> {
  const ebpf = await import("../adapters/ebpf/remove.js");
  return ebpf.removeNodes({ pinRoot, ...(node === null ? {} : { node }) });
}

async function removeFromPf({ stateDir }: Settings, node: string | null): Promise<readonly Removed[]> {
  const { removePf } = await import("../adapters/pf/inspect.js");
  return removePf({ stateDir }, node);
}

/** Returns this machine's backend; requires root. */
function requireRoot(command: string): "ebpf" | "pf" {
  const backend = process.platform === "linux" ? "ebpf" : process.platform === "darwin" ? "pf" : null;
  if (backend === null) {
    throw new OperationError("unsupported", `ztap ${command} has no enforcement backend for ${process.platform}`);
  }
  if (process.geteuid?.() !== 0)
    throw new EnforcerError(
      "not-permitted",
      `ztap ${command} needs root: ${backend === "pf" ? "pf's rules" : "the kernel's tables"} are root's alone`,
    );
  return backend;
}

/**
 * Returns the rules that a backend would hold for a node; needs neither root nor the backend's system.
 * @throws EnforcerError `limit`
 */
export async function renderRuleset(backend: "ebpf" | "pf", ruleset: Ruleset): Promise<RenderedRuleset> {
  const { node } = ruleset;
  if (backend === "pf") {
    const { render } = await import("../adapters/pf/render/render.js");
    const { text, refusals } = render(ruleset);
    return { backend, node, text, entries: [], refusals };
  }
  const { listMapEntries: listEntries } = await import("../adapters/ebpf/render.js");
  return { backend, node, text: null, entries: listEntries(ruleset), refusals: EBPF_CAPACITY.refuse(ruleset) };
}

/**
 * Returns the change of pf.conf that macOS needs, without making it.
 * @throws OperationError, EnforcerError `unsupported`
 */
export async function planPfSetup(undo: boolean): Promise<SetupPlan> {
  if (process.platform !== "darwin")
    throw new OperationError(
      "unsupported",
      `pf is set up on macOS, and this is ${process.platform}; nothing needs to be set up for eBPF`,
    );
  const { planSetup } = await import("../adapters/pf/setup.js");
  return planSetup(undo);
}

export async function applyPfSetup(plan: SetupPlan): Promise<SetupResult> {
  const { applySetup } = await import("../adapters/pf/setup.js");
  return applySetup(plan);
}
