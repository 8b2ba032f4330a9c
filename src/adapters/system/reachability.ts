/** Reachability by TCP: a connection that is accepted, and closed at once. */
import { connect } from "node:net";
import type { ControlEndpoint } from "../../model/management-access.js";
import type { Reachability } from "../../interfaces/reachability.js";

/** A SYN that was lost is sent again after one second, and after three. */
const TIMEOUT_MS = 5_000;

export class TcpReachability implements Reachability {
  constructor(private readonly endpoints: readonly ControlEndpoint[]) {}

  async reached(): Promise<readonly ControlEndpoint[]> {
    const tried = await Promise.all(this.endpoints.map(async (one) => ((await accepts(one)) ? [one] : [])));
    return tried.flat();
  }
}

function accepts({ host, port }: ControlEndpoint): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host, port });
    const end = (isAccepted: boolean) => () => {
      socket.destroy();
      resolve(isAccepted);
    };
    socket.setTimeout(TIMEOUT_MS);
    socket.once("connect", end(true)).once("timeout", end(false)).once("error", end(false));
  });
}
