/** Wiring of `ztap doctor`: the checks of the machine, of git, of the store and of the source. */
import { statSync } from "node:fs";
import { messageInWords } from "../model/system-error.js";
import type { Settings } from "../settings/settings.js";
import { describeExpiries } from "../operations/cluster/certificates.js";
import {
  checkCertificateName,
  checkDeclaration,
  readDeclaration,
  type Declaration,
} from "../operations/setup/node-check.js";
import { systemClock } from "./host.js";
import { findMissingStore, readExpiries, withStore } from "./store.js";
import type { Check } from "../model/doctor.js";
import { configuredSource, openRepository } from "./source.js";

/** Checks the machine for enforcement, git, the store and the source, for `ztap doctor`. */
export async function examineMachine(settings: Settings): Promise<readonly Check[]> {
  const kernel = await examineBackend(settings);
  const git = await examine("git", "install git 2.30 or newer", async () => {
    const { gitVersion } = await import("../adapters/git/git.js");
    return gitVersion();
  });
  const cluster = [...(await examineStore(settings)), ...(await examineCertificates(settings))];
  const choice = configuredSource(settings);
  if (choice === null) return [...kernel, git, ...cluster];
  const source = await examine(
    "source",
    "check the URL, the branch and the credentials of the user that runs the agent",
    async () => {
      const tip = await (await openRepository(settings, choice)).readTip();
      return `tip is ${tip.slice(0, 12)}`;
    },
  );
  return [...kernel, git, ...cluster, source];
}

async function examineStore(settings: Settings): Promise<readonly Check[]> {
  const { node, isNodeNamed } = settings;
  let declaration: Declaration = "unknown";
  const look = (): Promise<string> =>
    withStore(settings, { create: false }, async (opened) => {
      const head = await opened.readHead();
      declaration = await readDeclaration(opened, node);
      const missing = await findMissingStore(settings);
      if (missing !== null) return `none at ${missing} yet; the agent makes it, or ztap apply`;
      return head === null ? "empty" : `revision ${head}`;
    });
  const isUncertified = lacksCertificate(settings);
  const store = await examine("store", isUncertified ? CERTIFICATE_FIRST : STORE_ADVICE, look, isUncertified);
  return [store, ...checkDeclaration(node, isNodeNamed, declaration)];
}

const STORE_ADVICE = "run as root, or choose another with --store";
const CERTIFICATE_FIRST =
  "this machine has no certificate for the store: first run ztap cluster enroll, or copy the node's folder of ztap cluster bootstrap to /etc/ztap/etcd; then run ztap setup";

function lacksCertificate({ store, etcd }: Settings): boolean {
  return store.kind === "etcd" && store.tls && etcd.user === null && (etcd.cert === null || isMissing(etcd.cert));
}

function isMissing(path: string): boolean {
  try {
    return statSync(path, { throwIfNoEntry: false }) === undefined;
  } catch {
    // This user may not look there: the store says so.
    return false;
  }
}

async function examineCertificates(settings: Settings): Promise<readonly Check[]> {
  const nowMs = systemClock.now();
  const certificates = await readExpiries(settings);
  const ends = certificates.map((certificate): Check => {
    const [problem] = describeExpiries([certificate], nowMs);
    const { setting, file, expiresAt } = certificate;
    const hasExpired = Date.parse(expiresAt) <= nowMs;
    return {
      name: setting,
      state: problem === undefined ? "ok" : hasExpired ? "failed" : "warning",
      detail: `${file} ${hasExpired ? "expired at" : "is valid until"} ${expiresAt}`,
      fix: problem === undefined ? null : "renew it: ztap cluster renew; or ztap cluster bootstrap, and copy it",
    };
  });
  return [...ends, ...checkCertificateName(settings.node, certificates, settings.etcd.user)];
}

async function examineBackend({ pinRoot }: Settings): Promise<readonly Check[]> {
  if (process.platform === "darwin") {
    const { checkPf } = await import("../adapters/pf/doctor.js");
    return checkPf();
  }
  const { checkKernel, checkVersions } = await import("../adapters/ebpf/doctor.js");
  return process.platform === "linux" ? [...checkKernel({}), checkVersions(pinRoot)] : checkKernel({});
}

const toCheck = (name: string, ok: boolean, detail: string, fix: string): Check => ({
  name,
  state: ok ? "ok" : "failed",
  detail,
  fix: ok ? null : fix,
});

/**
 * Runs one check.
 * @param hasPriority whether the fix counts even if the error has advice of its own
 */
async function examine(name: string, fix: string, look: () => Promise<string>, hasPriority = false): Promise<Check> {
  try {
    return toCheck(name, true, await look(), fix);
  } catch (error) {
    // Most errors contain their own advice, which then replaces the general one.
    const [, detail, advice] = /^(.*); ([^;]+)$/s.exec(messageInWords(error)) ?? [];
    return toCheck(name, false, detail ?? messageInWords(error), hasPriority ? fix : (advice ?? fix));
  }
}
