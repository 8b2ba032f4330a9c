import { ListCommand } from "../../cli/list-command.js";
import { OUTPUT_FLAGS, WATCH_FLAG } from "../../cli/output.js";
import type { Store } from "../../interfaces/store.js";
import type { CertificateExpiry } from "../../model/certificate.js";
import { describeExpiries } from "../../operations/cluster/certificates.js";
import { readClusterStatus, type ClusterStatus } from "../../operations/cluster/membership.js";
import { clusterStatusDocument, renderClusterStatus } from "../../views/cluster.js";
import { wrapLines } from "../../views/wrap.js";
import { systemClock } from "../../wiring/host.js";
import { readExpiries, withExistingStore } from "../../wiring/store.js";

export default class ClusterStatusCommand extends ListCommand {
  static override summary = "Show head, leader, source and nodes.";
  static override examples = ["<%= config.bin %> cluster status -o wide", "<%= config.bin %> cluster status --watch"];
  static override flags = { ...OUTPUT_FLAGS, ...WATCH_FLAG };

  async run(): Promise<void> {
    const { flags } = await this.parse(ClusterStatusCommand);
    const settings = await this.settings(flags);
    const read = async (store: Store): Promise<Found> => ({
      status: await readClusterStatus({ store, clock: systemClock }),
      certificates: await readExpiries(settings),
    });
    const document = ({ status, certificates }: Found): object => clusterStatusDocument(status, certificates);
    const text = ({ status, certificates }: Found): string => {
      const expiring = describeExpiries(certificates, systemClock.now());
      return renderClusterStatus(status, this.style, { expiring, isWide: flags.output === "wide" });
    };
    if (flags.watch)
      return this.follow(settings, flags, { read, document }, (found) =>
        this.log(`${wrapLines(text(found), this.style.width)}\n`),
      );
    const found = await withExistingStore(settings, read);
    await this.present(flags, document(found), () => text(found));
  }
}

interface Found {
  readonly status: ClusterStatus;
  readonly certificates: readonly CertificateExpiry[];
}
