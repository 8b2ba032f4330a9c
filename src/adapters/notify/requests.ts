/**
 * Events as the requests that receivers publish: commit statuses of GitHub, GitLab and Gitea, ztap's own webhook
 * (schemas/notification.schema.json), and Slack's incoming webhook. Pure.
 *
 * - GitHub REST API, "Create a commit status": descriptions of at most 140 characters, 1000 statuses for each commit and
 *   context.
 * - GitLab REST API, "Set commit pipeline status".
 * - Gitea API, `repoCreateStatus`; Forgejo has the same.
 * - Slack, "Sending messages using incoming webhooks" and "Formatting text": & < > are escaped.
 */
import { createHmac } from "node:crypto";
import type { CommitEvent, CommitState } from "../../model/outbox.js";
import type { CommitStatusReceiver, Receiver } from "../../model/receiver.js";
import { printableLine } from "../../model/printable.js";

export interface DeliveryRequest {
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

/**
 * Returns the request.
 * @param url of the receiver
 * @param secret its token, or that of its signatures; empty if it has none
 */
export function toRequest(receiver: Receiver, event: CommitEvent, url: string, secret: string): DeliveryRequest {
  switch (receiver.type) {
    case "github":
      return toGitHub(receiver, event, url, secret);
    case "gitlab":
      return toGitLab(receiver, event, url, secret);
    case "gitea":
      return toGitea(receiver, event, url, secret);
    case "webhook":
      return toWebhook(event, url, secret);
    case "slack":
      return toSlack(event, url);
  }
}

const JSON_TYPE = { "content-type": "application/json" };

const HUB_STATES: Readonly<Record<CommitState, string>> = {
  accepted: "pending",
  held: "pending",
  enforced: "success",
  rejected: "failure",
  stalled: "failure",
  reverted: "failure",
};

const GITLAB_STATES: Readonly<Record<CommitState, string>> = {
  ...HUB_STATES,
  accepted: "running",
  rejected: "failed",
  stalled: "failed",
  reverted: "failed",
};

function toGitHub(receiver: CommitStatusReceiver, event: CommitEvent, url: string, token: string): DeliveryRequest {
  const { state, description } = event;
  return {
    url: `${url}/repos/${receiver.repository}/statuses/${event.commit}`,
    headers: {
      ...JSON_TYPE,
      accept: "application/vnd.github+json",
      authorization: `Bearer ${token}`,
      "x-github-api-version": "2022-11-28",
    },
    body: JSON.stringify({
      state: HUB_STATES[state],
      description: shorten(description, 140),
      context: contextOf(receiver, event),
    }),
  };
}

function toGitLab(receiver: CommitStatusReceiver, event: CommitEvent, url: string, token: string): DeliveryRequest {
  const { state, description, source } = event;
  return {
    url: `${url}/api/v4/projects/${encodeURIComponent(receiver.repository)}/statuses/${event.commit}`,
    headers: { ...JSON_TYPE, accept: "application/json", "private-token": token },
    body: JSON.stringify({
      state: GITLAB_STATES[state],
      name: contextOf(receiver, event),
      description: shorten(description, 255),
      ...(source.ref === null ? {} : { ref: source.ref }),
    }),
  };
}

function toGitea(receiver: CommitStatusReceiver, event: CommitEvent, url: string, token: string): DeliveryRequest {
  const { state, description } = event;
  return {
    url: `${url}/api/v1/repos/${receiver.repository}/statuses/${event.commit}`,
    headers: { ...JSON_TYPE, accept: "application/json", authorization: `token ${token}` },
    body: JSON.stringify({
      state: HUB_STATES[state],
      description: shorten(description, 255),
      context: contextOf(receiver, event),
    }),
  };
}

function contextOf({ context }: CommitStatusReceiver, { source: { path } }: CommitEvent): string {
  return context ?? (path === null || path === "" || path === "." ? "ztap" : `ztap/${shorten(path, 80)}`);
}

function toWebhook(event: CommitEvent, url: string, secret: string): DeliveryRequest {
  const { id, time, ...report } = event;
  const body = JSON.stringify({ formatVersion: 1, id, time, kind: "commit", ...report });
  return {
    url,
    headers: {
      ...JSON_TYPE,
      "x-ztap-event": "commit",
      "x-ztap-delivery": id,
      "x-ztap-signature-256": `sha256=${createHmac("sha256", secret).update(body).digest("hex")}`,
    },
    body,
  };
}

/** A section of Slack's has at most 3000 characters. */
const SLACK_TEXT = 2_000;
const SLACK_DIAGNOSTICS = 3;

function toSlack(event: CommitEvent, url: string): DeliveryRequest {
  const { commit, state, description, diagnostics, source } = event;
  const title = `ztap: commit ${commit.slice(0, 12)} is ${state}`;
  const shown = diagnostics
    .slice(0, SLACK_DIAGNOSTICS)
    .map(({ code, file, line, column, message }) => shorten(`${file}:${line}:${column} ${code} ${message}`, 300));
  const where = [source.location, ...(source.ref === null ? [] : [source.ref])].join(" ");
  const lines = [title, description, ...shown, where].map((line) => escapeSlack(shorten(line, 800)));
  const text = cut(lines.join("\n"), SLACK_TEXT);
  return {
    url,
    headers: JSON_TYPE,
    body: JSON.stringify({
      text: escapeSlack(shorten(`${title}: ${description}`, 400)),
      blocks: [{ type: "section", text: { type: "mrkdwn", verbatim: true, text } }],
    }),
  };
}

/** So that text of others is no link, and calls nobody. */
function escapeSlack(text: string): string {
  return text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
}

/** Returns one harmless line of at most that many characters. */
function shorten(text: string, most: number): string {
  return cut(printableLine(text), most);
}

function cut(text: string, most: number): string {
  return text.length <= most ? text : `${text.slice(0, most - 1).toWellFormed()}…`;
}
