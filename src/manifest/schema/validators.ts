/** The generated validators with the types of the schemas: a value is a document of its kind, or has errors. */
import type { ErrorObject } from "ajv";
import type {
  BootstrapDocument,
  ClusterDocument,
  ConfigDocument,
  ConnectivityTestDocument,
  KubernetesNetworkPolicyDocument,
  NamespaceDocument,
  NetworkSetDocument,
  NodeDocument,
  NodeGroupDocument,
  WorkloadDocument,
  ZtapNetworkPolicyDocument,
} from "../../model/generated.js";
import * as generated from "./validators.generated.js";

export type SchemaError = ErrorObject<string, Record<string, unknown>>;

export type Parsed<T> =
  { readonly ok: true; readonly document: T } | { readonly ok: false; readonly errors: readonly SchemaError[] };

interface GeneratedValidator {
  (value: unknown): boolean;
  errors?: SchemaError[] | null;
}

/** Returns a parser. This is the only place where a value becomes a typed document, right after its validation. */
function parser<T>(validate: GeneratedValidator): (value: unknown) => Parsed<T> {
  return (value) =>
    validate(value) ? { ok: true, document: value as T } : { ok: false, errors: validate.errors ?? [] };
}

export const parseConfig = parser<ConfigDocument>(generated.validateConfig);
export const parseBootstrap = parser<BootstrapDocument>(generated.validateBootstrap);
export const parseNode = parser<NodeDocument>(generated.validateNode);
export const parseNodeGroup = parser<NodeGroupDocument>(generated.validateNodeGroup);
export const parseNamespace = parser<NamespaceDocument>(generated.validateNamespace);
export const parseWorkload = parser<WorkloadDocument>(generated.validateWorkload);
export const parseZtapNetworkPolicy = parser<ZtapNetworkPolicyDocument>(generated.validateZtapNetworkPolicy);
export const parseNetworkSet = parser<NetworkSetDocument>(generated.validateNetworkSet);
export const parseConnectivityTest = parser<ConnectivityTestDocument>(generated.validateConnectivityTest);
export const parseCluster = parser<ClusterDocument>(generated.validateCluster);
export const parseKubernetesNetworkPolicy = parser<KubernetesNetworkPolicyDocument>(
  generated.validateKubernetesNetworkPolicy,
);
