/**
 * What a client knows about its room, folded from the snapshot of `room.join` and the events
 * after it. Pure: `fold(state, event)` returns the next state and changes nothing in place.
 */

/** Chat messages kept in memory; older ones come from `chat.history`. */
export const CHAT_KEPT = 200;
/** Host, eight guests and the screen. */
export const SEATS = 10;

/** @param {number} seat */
const emptySeat = (seat) => ({ seat, user: null, name: null, state: "empty", audio: false, video: false });

/**
 * The state at the moment of a snapshot (the reply to `room.join`, or a `room.snapshot`).
 *
 * @param {object} snapshot
 * @param {object} [before] earlier state of the same room: what a snapshot does not hold is kept
 */
export function fromSnapshot(snapshot, before) {
  return {
    room: snapshot.room,
    seats: seatTable(snapshot.seats ?? []),
    viewers: snapshot.viewers ?? before?.viewers ?? { now: 0, total: 0 },
    you: snapshot.you ? mergeYou(before?.you, snapshot.you) : before?.you,
    chat: mergeChat(before?.chat ?? [], snapshot.chat ?? []),
    staff: snapshot.staff ?? null,
    wallet: before?.wallet ?? null,
    likes: Math.max(before?.likes ?? 0, snapshot.likes ?? 0),
    speaking: snapshot.speaking ?? [],
    summary: before?.summary ?? null,
  };
}

/** Places are looked up by number, so that a slot is always `seats[k]`. */
function seatTable(seats) {
  const table = Array.from({ length: SEATS }, (_, seat) => emptySeat(seat));
  for (const seat of seats) if (seat.seat >= 0 && seat.seat < SEATS) table[seat.seat] = { ...emptySeat(seat.seat), ...seat };
  return table;
}

/** Messages carry a room-wide increasing `n`; the same one twice is one. */
function mergeChat(old, fresh) {
  const byNumber = new Map(old.map((m) => [m.n, m]));
  for (const message of fresh) byNumber.set(message.n, message);
  return [...byNumber.values()].sort((a, b) => a.n - b.n).slice(-CHAT_KEPT);
}

/** @type {Record<string, (state: any, data: any) => any>} */
const FOLDS = {
  "room.live": (s, d) => inRoom(s, { state: "live", reasons: [], until: null, startedAt: d.startedAt ?? s.room.startedAt }),
  "room.paused": (s, d) => inRoom(s, { state: "paused", reasons: d.reasons ?? [], until: d.until ?? null }),
  "room.resumed": (s) => inRoom(s, { state: "live", reasons: [], until: null }),
  "room.ended": (s, d) => ({ ...inRoom(s, { state: "ended", endReason: d.reason }), summary: d.summary ?? {}, seats: seatTable([]) }),
  "room.updated": (s, d) => inRoom(s, d),
  "layout.updated": (s, d) => inRoom(s, { policy: { ...s.room.policy, layout: d.layout } }),
  "seat.updated": foldSeat,
  "viewers.count": (s, d) => ({ ...s, viewers: { now: d.now, total: d.total } }),
  "chat.batch": (s, d) => ({ ...s, chat: mergeChat(s.chat, d.msgs ?? []) }),
  "chat.deleted": (s, d) => ({ ...s, chat: s.chat.filter((m) => !(d.ids ?? []).includes(m.n) && m.user !== d.user) }),
  "you.updated": (s, d) => ({ ...s, you: mergeYou(s.you, d) }),
  "wallet.updated": (s, d) => ({ ...s, wallet: { ...s.wallet, ...d } }),
  "guest.invited": (s, d) => withGuest(s, { ...d, state: "invited" }),
  "guest.granted": (s, d) => withGuest(s, { ...s.you?.guest, ...d, state: "connecting" }),
  "guest.countdown": (s, d) => (s.you?.guest ? withGuest(s, { ...s.you.guest, airAt: d.airAt }) : s),
  "guest.ended": (s, d) => (s.you?.guest && d.guestId && d.guestId !== s.you.guest.guestId ? s : withGuest(s, null)),
  "guest.muted": foldGuestMuted,
  "guest.queue": (s, d) => ({ ...s, staff: { ...s.staff, queue: d.requests ?? [], invited: d.invited ?? [] } }),
  "guest.seats": (s, d) => ({ ...s, staff: s.staff ? { ...s.staff, seats: d.seats ?? [] } : s.staff }),
  "members.updated": (s, d) => ({ ...s, staff: { ...s.staff, members: d.members ?? [] } }),
};

/**
 * The state after an event. Unknown types change nothing.
 *
 * @template S
 * @param {S} state
 * @param {{type: string, data?: object}} event
 * @returns {S}
 */
export function fold(state, event) {
  const step = Object.hasOwn(FOLDS, event.type) ? FOLDS[event.type] : null;
  return step ? step(state, event.data ?? {}) : state;
}

/** An `fx` frame holds absolute totals: the latest wins. */
export function foldFx(state, frame) {
  const viewers = frame.v === undefined ? state.viewers : { ...state.viewers, now: frame.v };
  const likes = Math.max(state.likes, frame.l ?? 0);
  const speaking = frame.s ?? state.speaking;
  const same = likes === state.likes && viewers.now === state.viewers.now && speaking.join() === state.speaking.join();
  return same ? state : { ...state, viewers, likes, speaking };
}

function inRoom(state, changes) {
  return { ...state, room: { ...state.room, ...changes } };
}

function withGuest(state, guest) {
  return { ...state, you: { ...state.you, guest } };
}

/** Who invited and when the countdown ends come in events of their own: kept while it is the same Attempt. */
function mergeYou(old, fresh) {
  const you = { ...old, ...fresh };
  if (fresh.guest && old?.guest?.guestId === fresh.guest.guestId) you.guest = { ...old.guest, ...fresh.guest };
  return you;
}

function foldSeat(state, data) {
  if (!(data.seat >= 0 && data.seat < SEATS)) return state;
  const seats = state.seats.slice();
  const base = data.state === "empty" ? emptySeat(data.seat) : { ...emptySeat(data.seat), ...data };
  seats[data.seat] = base;
  const next = { ...state, seats };
  const guest = state.you?.guest;
  const mine = guest && data.user && data.user === state.you.user;
  if (mine && (data.state === "live" || data.state === "reconnecting")) {
    return withGuest(next, { ...guest, state: data.state, seat: data.seat });
  }
  return next;
}

/** `kinds` the guest can undo, `locked` only staff can. */
function foldGuestMuted(state, data) {
  if (!state.you?.guest) return state;
  return withGuest(state, { ...state.you.guest, selfMuted: data.kinds ?? [], locked: data.locked ?? [] });
}
