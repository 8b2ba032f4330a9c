/** Certificates, users and roles of an etcd of a test, made with the code of `ztap cluster bootstrap`. */
import { spawnSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { etcdProgram } from "../../examples/cluster/etcd.js";
import { generateKey, issueAuthority, issueCertificate, publicKeyPem } from "../../src/adapters/authority/x509.js";
import { clusterAccess, rolesScript } from "../../src/operations/bootstrap/roles.js";
import { HANG_MS } from "../wait.js";

const DAY_MS = 24 * 3_600_000;

export interface TestCertificate {
  /** Also the name of its files. */
  readonly name: string;
  /** Addresses of a server. */
  readonly hosts?: readonly string[];
  readonly hasExpired?: boolean;
}

/** Writes `ca.crt` and a pair of files for each certificate. */
export async function writeCertificates(folder: string, wanted: readonly TestCertificate[]): Promise<void> {
  const privateKey = await generateKey();
  const nowMs = Date.now();
  const certificate = await issueAuthority(privateKey, "ztap-etcd-ca", { nowMs, validForMs: DAY_MS });
  writeFileSync(join(folder, "ca.crt"), certificate);
  for (const { name, hosts = [], hasExpired = false } of wanted) {
    const key = await generateKey();
    const validity = { nowMs: hasExpired ? nowMs - 2 * DAY_MS : nowMs, validForMs: DAY_MS };
    const profile = { commonName: name, hosts };
    const issued = await issueCertificate(publicKeyPem(key), profile, { certificate, privateKey }, validity);
    writeFileSync(join(folder, `${name}.crt`), issued);
    writeFileSync(join(folder, `${name}.key`), key);
  }
}

/** Runs etcdctl. @returns what it said @throws with that where it fails */
export function etcdctl(environment: Readonly<Record<string, string>>, script: string): string {
  const program = etcdProgram("etcdctl");
  const path = `${program.includes("/") ? `${dirname(program)}:` : ""}${process.env["PATH"] ?? ""}`;
  const env = { PATH: path, ETCDCTL_API: "3", ...environment };
  const { status, stdout, stderr } = spawnSync("sh", ["-eu", "-c", script], {
    encoding: "utf8",
    env,
    timeout: HANG_MS,
  });
  if (status !== 0) throw new Error(`${stdout}${stderr}`);
  return stdout;
}

/** The users and roles of two nodes, of which web-2 may lead; then authentication is on. */
export function makeUsers(
  environment: Readonly<Record<string, string>>,
  change: (text: string) => string = (text) => text,
): void {
  const file = {
    members: [],
    nodes: ["web-1", "web-2"],
    enrolled: [],
    leaders: ["web-2"],
    operators: [],
    prefix: "ztap",
  };
  etcdctl(environment, change(rolesScript(clusterAccess(file))));
}

/** Users log in with a password in place of a certificate: `of-NAME`, root's is `secret`. */
export function withPasswords(script: string): string {
  return script
    .replaceAll(/user add root --no-password/g, "user add root:secret")
    .replaceAll(/user add (\S+) --no-password/g, "user add $1:of-$1");
}
