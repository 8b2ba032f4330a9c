/**
 * Certificates in files: those in use, and others once they are good. Files are replaced one by one, so that a pair can be
 * half of the old and half of the new: it is used only once its key, its certificate and its authority fit together, and
 * the store has accepted it.
 */
import { readFileSync, statSync } from "node:fs";
import type { Renewal, StoreCertificates } from "../../interfaces/certificates.js";
import type { Clock } from "../../interfaces/system.js";
import type { CertificateExpiry } from "../../model/certificate.js";
import { messageInWords } from "../../model/system-error.js";
import { commonNameOf, problemOfPair, readCertificates } from "./certificate-pair.js";
import { writableByOthers } from "./ownership.js";

export interface CertificatePaths {
  readonly ca: string | null;
  readonly cert: string | null;
  readonly key: string | null;
}

export interface CertificateBytes {
  readonly ca: Buffer | null;
  readonly cert: Buffer | null;
  readonly key: Buffer | null;
}

const NAMES = ["ca", "cert", "key"] as const;

export class CertificateFiles implements StoreCertificates {
  #inUse: CertificateBytes;
  /** Of the files that were last found to be in use; null: look again. */
  #settled: string | null = null;

  /**
   * @param initial the content in use
   * @param use uses another content; throws if the store does not accept it
   */
  constructor(
    private readonly paths: CertificatePaths,
    initial: CertificateBytes,
    private readonly use: (bytes: CertificateBytes) => Promise<void>,
    private readonly clock: Pick<Clock, "now">,
  ) {
    this.#inUse = initial;
  }

  async renew(): Promise<Renewal> {
    try {
      const before = this.#signature();
      if (before === this.#settled) return { outcome: "unchanged" };
      const found = this.#read();
      const isSame = NAMES.every((name) => sameBytes(found[name], this.#inUse[name]));
      if (!isSame) {
        const problem = this.#signature() === before ? this.#problem(found) : "the files are being changed";
        if (problem !== null) return { outcome: "refused", problem };
        await this.use(found);
        this.#inUse = found;
      }
      this.#settled = before;
      return { outcome: isSame ? "unchanged" : "renewed" };
    } catch (error) {
      return { outcome: "refused", problem: messageInWords(error) };
    }
  }

  list(): readonly CertificateExpiry[] {
    return listExpiries(this.paths, this.#inUse);
  }

  #signature(): string {
    return NAMES.map((name) => {
      const path = this.paths[name];
      if (path === null) return "";
      const { ino, size, mtimeMs, ctimeMs } = statSync(path);
      return `${ino}:${size}:${mtimeMs}:${ctimeMs}`;
    }).join(" ");
  }

  #read(): CertificateBytes {
    const [ca = null, cert = null, key = null] = NAMES.map((name) => {
      const path = this.paths[name];
      if (path === null) return null;
      const why = writableByOthers(path, process.geteuid?.() ?? 0);
      if (why !== null) throw new Error(why);
      return readFileSync(path);
    });
    return { ca, cert, key };
  }

  #problem({ ca, cert, key }: CertificateBytes): string | null {
    const authorities = ca?.toString() ?? null;
    if (authorities !== null && readCertificates(authorities) === null)
      return "the authority's certificate cannot be read";
    if (cert === null || key === null) return null;
    const [own, used] = [cert, this.#inUse.cert].map((bytes) => readCertificates(bytes?.toString() ?? "")?.[0]);
    // With another's certificate the node could read, and would fail when it writes its own records.
    if (own !== undefined && used !== undefined && commonNameOf(own) !== commonNameOf(used))
      return `the certificate is for ${commonNameOf(own)}, and the one in use is for ${commonNameOf(used)}`;
    // The authority of clients may be another one than that of servers: the store decides.
    return problemOfPair({ certificate: cert.toString(), privateKey: key.toString() }, null, this.clock.now());
  }
}

/** Returns when the certificates expire; those that cannot be read are left out. */
export function listExpiries(
  paths: CertificatePaths,
  bytes: Pick<CertificateBytes, "ca" | "cert">,
): readonly CertificateExpiry[] {
  return (["ca", "cert"] as const).flatMap((name) => {
    const [file, text] = [paths[name], bytes[name]?.toString()];
    if (file === null || text === undefined) return [];
    // The first of several to expire is the one to renew.
    const all = readCertificates(text) ?? [];
    const [own] = all;
    const [first] = [...all].sort((a, b) => a.validToDate.getTime() - b.validToDate.getTime());
    if (own === undefined || first === undefined) return [];
    return [
      {
        setting: `etcd.${name}` as const,
        file,
        commonName: commonNameOf(own),
        expiresAt: first.validToDate.toISOString(),
      },
    ];
  });
}

function sameBytes(one: Buffer | null, other: Buffer | null): boolean {
  return one === null || other === null ? one === other : one.equals(other);
}
