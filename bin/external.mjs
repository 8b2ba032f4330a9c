/**
 * The packages that stay outside the bundle of the CLI. Graphviz keeps its own package, with its licence. pino starts worker threads
 * from its own files.
 */
export const EXTERNAL = ["@viz-js/viz", "etcd3", "@grpc/grpc-js", "cockatiel", "protobufjs", "pino"];
