/** The key and the certificates of a node on its own disk. The key is made here, and never leaves. */
import { join } from "node:path";
import { OperationError } from "../../model/operation-error.js";
import { RENEW_BEFORE_MS } from "../../model/certificate.js";
import { makeFile, readIfThere, replaceFile } from "../system/atomic-file.js";
import { commonNameOf, problemOfPair, readCertificates, readPrivateKey } from "../system/certificate-pair.js";
import { makeFolder } from "../system/folder.js";
import { writableByOthers } from "../system/ownership.js";
import { createRequest, generateKey } from "./x509.js";

export class NodeFiles {
  readonly paths: { readonly ca: string; readonly cert: string; readonly key: string };

  /** @throws OperationError `invalid-settings` if another user can write to the folder */
  constructor(
    readonly folder: string,
    private readonly node: string,
  ) {
    makeFolder(folder, 0o700);
    const why = writableByOthers(folder, process.geteuid?.() ?? 0);
    if (why !== null)
      throw new OperationError("invalid-settings", `no key is kept in ${folder}: ${why}; choose another with --dir`);
    this.paths = { ca: join(folder, "ca.crt"), cert: join(folder, "node.crt"), key: join(folder, "node.key") };
  }

  /** Returns whether the node has a certificate that will be good for a while. */
  isGood(nowMs: number): boolean {
    const [ca, cert, key] = [readIfThere(this.paths.ca), readIfThere(this.paths.cert), readIfThere(this.paths.key)];
    return (
      ca !== null && cert !== null && key !== null && this.#problem(ca, cert, key, nowMs + RENEW_BEFORE_MS) === null
    );
  }

  /** Returns a request for a certificate; makes the key if there is none. @throws OperationError `bad-key` */
  async request(): Promise<string> {
    const { key } = this.paths;
    if (readIfThere(key) === null) makeFile(key, await generateKey());
    const privateKey = readIfThere(key) ?? "";
    if (readPrivateKey(privateKey)?.asymmetricKeyDetails?.namedCurve === "prime256v1")
      return createRequest(privateKey, this.node);
    throw new OperationError("bad-key", `${key} is no private key on the curve P-256; remove it to get another one`);
  }

  /** Stores the certificates, if they are for this node's key. @throws OperationError `enrolment` */
  store(certificate: string, authority: string, nowMs: number): void {
    const { ca, cert, key } = this.paths;
    const problem = this.#problem(authority, certificate, readIfThere(key) ?? "", nowMs);
    if (problem !== null) throw new OperationError("enrolment", `the authority's answer is of no use: ${problem}`);
    replaceFile(ca, authority);
    replaceFile(cert, certificate);
  }

  #problem(authority: string, certificate: string, privateKey: string, nowMs: number): string | null {
    const problem = problemOfPair({ certificate, privateKey }, authority, nowMs);
    if (problem !== null) return problem;
    const [own] = readCertificates(certificate) ?? [];
    return own !== undefined && commonNameOf(own) === this.node ? null : "the certificate is for another name";
  }
}
