/** The authority's answers to what reaches it: a certificate, a refusal in words for the node, or a failure without details. */
import type { EnrolmentAnswer, EnrolmentCall, EnrolmentReply } from "../../interfaces/enrolment.js";
import { EnrolmentRefused, enrolNode, isEnrolmentRequest, type EnrolmentDeps } from "./enroll.js";
import { isRenewalRequest, renewNode, type RenewalDeps } from "./renew.js";

/**
 * Answers one request; never rejects.
 * @param accepted is called once the peer is known to be entitled to an answer
 */
export async function answerCall(
  deps: EnrolmentDeps & RenewalDeps,
  call: EnrolmentCall,
  accepted: () => void,
): Promise<EnrolmentReply> {
  const { body, from, kind, shown } = call;
  if (kind === "enroll")
    return isEnrolmentRequest(body) ? settle(body.node, () => enrolNode(deps, body, accepted)) : NO_REQUEST;
  return isRenewalRequest(body) ? settle(body.node, () => renewNode(deps, shown, body, accepted)) : NO_REQUEST;

  async function settle(node: string, run: () => Promise<EnrolmentAnswer>): Promise<EnrolmentReply> {
    try {
      return { status: 200, body: await run() };
    } catch (error) {
      deps.logger.warn(kind === "enroll" ? "refused an enrolment" : "refused a renewal", { node, from, error });
      return error instanceof EnrolmentRefused
        ? { status: 403, body: { error: error.message } }
        : { status: 500, body: { error: "the authority failed; its log says why" } };
    }
  }
}

const NO_REQUEST: EnrolmentReply = { status: 400, body: { error: "this is no request for a certificate" } };
