/** Names that no member, node or operator may have. */

/** The user of etcd who may change users and roles. */
export const ROOT = "root";
/** The certificate with which enrolment is served; it is no user. */
export const ENROLMENT_NAME = "ztap-enrolment";
