/**
 * The commands of the protocol as methods, grouped as in docs/protocol.md. Each returns the
 * reply's data or rejects with a `Refusal`.
 *
 * @typedef {import("./client.js").GreenroomClient} Client
 */

/** The show itself; for the host. @param {Client} client */
export function roomCommands(client) {
  return {
    start: (title) => client.request("room.start", { title }),
    pause: (untilMs) => client.request("room.pause", { untilMs }),
    resume: () => client.request("room.resume"),
    end: () => client.request("room.end"),
    update: (changes) => client.request("room.update", changes),
    members: () => client.request("member.list"),
    acceptRules: (version) => client.request("rules.accept", { version: String(version) }),
  };
}

/** Ways to a seat, and what staff does with the people on it. @param {Client} client */
export function guestCommands(client) {
  const about = (type) => (guestId) => client.request(type, { guestId });
  return {
    request: (media, note) => client.request("guest.request", { media, note }),
    cancel: about("guest.cancel"),
    decline: about("guest.decline"),
    /** Take the seat; then publish. The resume token in the reply is kept by the client. */
    async accept(guestId, media) {
      const granted = await client.request("guest.accept", { guestId, media });
      if (granted.resumeToken) client.setResumeToken(granted.resumeToken);
      return granted;
    },
    leave: () => client.request("guest.leave"),
    requestUnmute: (kinds) => client.request("guest.requestUnmute", { kinds }),
    invite: (user, options = {}) => client.request("guest.invite", { user, ...options }),
    revoke: about("guest.revoke"),
    approve: about("guest.approve"),
    deny: about("guest.deny"),
    goLive: about("guest.goLive"),
    backstage: about("guest.backstage"),
    remove: about("guest.remove"),
    removeAll: () => client.request("guest.removeAll"),
    mute: (guestId, kinds, hard = true) => client.request("guest.mute", { guestId, kinds, hard }),
    allowUnmute: (guestId, kinds) => client.request("guest.allowUnmute", { guestId, kinds }),
    list: () => client.request("guest.list"),
  };
}

/** @param {Client} client */
export function moderationCommands(client) {
  return {
    mute: (user, ms) => client.request("mod.mute", { user, ms }),
    unmute: (user) => client.request("mod.unmute", { user }),
    kick: (user) => client.request("mod.kick", { user }),
    ban: (user, ms = null) => client.request("mod.ban", { user, ms }),
    unban: (user) => client.request("mod.unban", { user }),
  };
}
