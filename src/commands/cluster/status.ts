import { BaseCommand } from "../../cli/base.js";
import { OUTPUT_FLAGS } from "../../cli/output.js";
import { describeExpiries } from "../../operations/cluster/certificates.js";
import { readClusterStatus } from "../../operations/cluster/membership.js";
import { clusterStatusDocument, renderClusterStatus } from "../../views/cluster.js";
import { systemClock } from "../../wiring/host.js";
import { readExpiries, withStore } from "../../wiring/store.js";

export default class ClusterStatusCommand extends BaseCommand {
  static override summary = "Show head, leader, source and nodes.";
  static override flags = OUTPUT_FLAGS;

  async run(): Promise<void> {
    const { flags } = await this.parse(ClusterStatusCommand);
    const settings = await this.settings(flags);
    const status = await withStore(settings, { create: false }, (store) =>
      readClusterStatus({ store, clock: systemClock }),
    );
    const certificates = await readExpiries(settings);
    const expiring = describeExpiries(certificates, systemClock.now());
    const isWide = flags.output === "wide";
    await this.present(flags, clusterStatusDocument(status, certificates), () =>
      renderClusterStatus(status, this.style, { expiring, isWide }),
    );
  }
}
