/** The examples that are policy repositories, copied to where a test may change them, and what their READMEs say. */
import { cpSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { Ztap } from "../cli/ztap.js";

/** With packets of each that pass or do not: `from → to PROTOCOL port`, between instances, `namespace/workload@node`, or workloads. */
export const EXAMPLES: Readonly<
  Record<string, { readonly open: readonly string[]; readonly refused: readonly string[] }>
> = {
  "three-tier-web": {
    open: ["shop/web@web-1 → shop/api@app-2 TCP 8080", "shop/api@app-1 → shop/db@db-1 TCP 5432"],
    refused: ["shop/web@web-1 → shop/db@db-1 TCP 5432", "shop/db@db-1 → shop/web@web-2 TCP 443"],
  },
  microservices: {
    open: ["front/gateway → orders/orders TCP 8080", "monitoring/prometheus → orders/queue TCP 15692"],
    refused: ["front/gateway → payments/payments TCP 8080", "orders/orders → monitoring/prometheus TCP 9100"],
  },
  "pci-segment": {
    open: ["office/jump → cardholder/vault TCP 22", "cardholder/tokenizer → cardholder/vault TCP 5432"],
    refused: ["office/crm → cardholder/vault TCP 22", "office/jump → cardholder/vault TCP 5432"],
  },
  "lateral-movement": {
    open: ["office/desktop@desk-1 → office/files TCP 445", "office/bastion → office/desktop@desk-3 TCP 22"],
    refused: ["office/desktop@desk-1 → office/desktop@desk-2 TCP 22", "office/files → office/backup TCP 873"],
  },
  "deny-all": {
    open: ["apps/legacy → infra/dns UDP 53", "apps/wiki → infra/mirror TCP 443"],
    refused: ["apps/legacy → infra/mirror TCP 443", "apps/billing → apps/wiki TCP 443"],
  },
};

/** @returns the folder of the copy */
export function copyExample(ztap: Ztap, name: string): string {
  const folder = ztap.path(name);
  cpSync(join(ztap.root, "examples", name), folder, { recursive: true });
  return folder;
}

/** The one block of that language in a README. */
export function blockOf(folder: string, language: string): string {
  const text = readFileSync(join(folder, "README.md"), "utf8");
  const blocks = [...text.matchAll(new RegExp(`^\`\`\`${language}\\n(.*?)^\`\`\`$`, "gms"))];
  const [[, block] = []] = blocks;
  if (block === undefined || blocks.length > 1) throw new Error(`${folder}/README.md has no one block of ${language}`);
  return block;
}

/** The manifests of an example, and the files of CIDRs that they name. */
export function manifestFiles(
  folder: string,
): readonly { readonly path: string; readonly text: string; readonly blobId: string }[] {
  return readdirSync(folder, { recursive: true, encoding: "utf8" })
    .filter((path) => /\.(yaml|cidrs)$/.test(path))
    .sort()
    .map((path) => ({ path, text: readFileSync(join(folder, path), "utf8"), blobId: path }));
}
