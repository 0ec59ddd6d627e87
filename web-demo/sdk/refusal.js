/**
 * A "no" from the server. `code` is stable and snake_case (docs/protocol.md lists them all);
 * `message` is a sentence for a person.
 */
export class Refusal extends Error {
  /** @param {{code: string, message?: string, retryAfterMs?: number, details?: object}} refusal */
  constructor({ code, message, retryAfterMs = 0, details = {} }) {
    super(message || code);
    this.name = "Refusal";
    this.code = code;
    this.retryAfterMs = retryAfterMs;
    this.details = details;
  }
}

/** The two codes that never come from the server: no reply in time, and no connection to ask over. */
export const TIMEOUT = "client_timeout";
export const OFFLINE = "client_offline";
