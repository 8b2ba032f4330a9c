/** Marks a stream so that a member without a leader ends it; otherwise it would stay silent. */
import { InterceptingCall, type Interceptor } from "@grpc/grpc-js";

/** etcd: `rpctypes.MetadataRequireLeaderKey`. */
export const requireLeader: Interceptor = (options, nextCall) =>
  new InterceptingCall(nextCall(options), {
    start(metadata, listener, next) {
      metadata.set("hasleader", "true");
      next(metadata, listener);
    },
  });
