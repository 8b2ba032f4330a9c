/** The common parts of commands that show what the store has: formats, and watching. */
import { printableJson } from "../model/printable.js";
import type { Store } from "../interfaces/store.js";
import { watchList } from "../operations/query/watch-list.js";
import type { Settings } from "../settings/settings.js";
import { renderListing, WatchedListing, type ListTable } from "../views/listing.js";
import type { Style } from "../views/style.js";
import { systemClock } from "../wiring/host.js";
import { withExistingStore, withStore } from "../wiring/store.js";
import { BaseCommand } from "./base.js";
import { untilSignal } from "./signals.js";

interface ListFlags {
  readonly output: "table" | "wide" | "json" | "yaml" | undefined;
  readonly "no-headers": boolean;
  readonly watch: boolean;
}

/** How a list is read, and shown. */
export interface ListSource<T> {
  readonly read: (store: Store) => Promise<T>;
  readonly document: (list: T) => object;
  readonly listing: (list: T, style: Style, isWide: boolean) => ListTable;
}

export abstract class ListCommand extends BaseCommand {
  protected async list<T>(settings: Settings, flags: ListFlags, source: ListSource<T>): Promise<void> {
    if (flags.watch) await this.#watch(settings, flags, source);
    else await this.#print(await withExistingStore(settings, source.read), flags, source);
  }

  /** Shows what the store says, and again whenever it differs, until Ctrl-C: as documents, or by `show`. */
  protected async follow<T>(
    settings: Settings,
    flags: { readonly output: string | undefined },
    { read, document }: Pick<ListSource<T>, "read" | "document">,
    show: (found: T) => void,
  ): Promise<void> {
    await this.noteMissingStore(settings, "waiting for it");
    await withStore(settings, { create: false }, (store) =>
      untilSignal(async (signal) => {
        for await (const found of watchList({ store, clock: systemClock }, () => read(store), signal)) {
          if (flags.output === "json") this.log(printableJson(document(found)));
          else if (flags.output === "yaml") await this.printYaml(document(found));
          else show(found);
        }
      }),
    );
  }

  async #print<T>(list: T, flags: ListFlags, { document, listing }: ListSource<T>): Promise<void> {
    if (flags.output === "json" || flags.output === "yaml") return this.present(flags, document(list), () => "");
    const isWide = flags.output === "wide";
    const headers = !flags["no-headers"];
    const shown = listing(list, this.style, isWide);
    const text = renderListing(shown, this.style, { wide: isWide, headers });
    // A script that counts rows wants no other line on stdout.
    if (text !== "") this.log(text);
    if (!headers && shown.notes.length > 0) this.logToStderr(shown.notes.join("\n").trim());
  }

  #watch<T>(settings: Settings, flags: ListFlags, source: ListSource<T>): Promise<void> {
    const { output, "no-headers": noHeaders } = flags;
    const isWide = output === "wide";
    const watched = new WatchedListing(this.style, { wide: isWide, headers: !noHeaders });
    return this.follow(settings, flags, source, (list) => {
      const { lines, notes } = watched.update(source.listing(list, this.style, isWide));
      if (lines.length > 0) this.log(lines.join("\n"));
      if (notes.length > 0 && !noHeaders) this.log(notes.join("\n"));
      else if (notes.length > 0) this.logToStderr(notes.join("\n").trim());
    });
  }
}
