/** The users of etcd that were made from this folder, one name a line: those alone may be deleted from here. */
import type { AuthorityFolder, MadeUsers } from "../../interfaces/authority.js";

const USERS_FILE = "etcd-users";

export function madeUsers(folder: AuthorityFolder): MadeUsers {
  const names = new Set((folder.read(USERS_FILE) ?? "").split("\n").filter((name) => name !== ""));
  const write = (): void =>
    void folder.write(
      USERS_FILE,
      [...names]
        .sort()
        .map((name) => `${name}\n`)
        .join(""),
    );
  return {
    get names() {
      return [...names];
    },
    add: (name) => {
      names.add(name);
      write();
    },
    remove: (name) => {
      names.delete(name);
      write();
    },
  };
}
