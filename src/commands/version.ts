import { BaseCommand } from "../cli/base.js";

export default class VersionCommand extends BaseCommand {
  static override summary = "Show the version of ztap, of Node.js and of the machine.";

  async run(): Promise<void> {
    const { flags } = await this.parse(VersionCommand);
    const { version, platform, arch } = this.config;
    const document = { formatVersion: 1, version, node: process.versions.node, platform, arch };
    this.print(flags, document, () => `ztap ${version} (Node.js ${process.versions.node}, ${platform}-${arch})`);
  }
}
