/** Types of the Greenroom SDK. Messages and codes are described in docs/protocol.md. */

export type Kind = "audio" | "video";
export type SeatState = "empty" | "reserved" | "live" | "reconnecting";
export type GuestState = "requested" | "invited" | "connecting" | "backstage" | "live" | "reconnecting";
export type RoomStateName = "scheduled" | "preview" | "live" | "paused" | "suspended" | "ended" | "archived";
export type Connection = "idle" | "connecting" | "waiting" | "connected" | "reconnecting" | "closed";
export type GuestMedia = "av" | "audio";

export interface Person {
  user: string;
  name: string;
}

export interface Seat {
  /** 0 host, 1-8 guests, 9 the host's screen. */
  seat: number;
  user: string | null;
  name: string | null;
  state: SeatState;
  audio: boolean;
  video: boolean;
  /** What is lost on its way to the server comes this late, ms, and pictures wait for it. */
  repairMs?: number;
}

export interface Guest {
  guestId: string;
  state: GuestState;
  seat?: number;
  media: GuestMedia;
  selfMuted?: Kind[];
  locked?: Kind[];
  expiresAt?: number;
  airAt?: number;
  by?: Person;
  message?: string;
}

export interface ChatMessage extends Person {
  n: number;
  role: string;
  text: string;
  ts: number;
}

export interface SeatDetail extends Person {
  seat: number;
  guestId: string;
  state: GuestState;
  selfMuted: Kind[];
  locked: Kind[];
}

export interface Staff {
  queue: (Person & { guestId: string; media: GuestMedia; note?: string; at: number })[];
  invited: (Person & { guestId: string; expiresAt: number })[];
  seats: SeatDetail[];
  members: (Person & { role: string; guest?: GuestState })[];
}

export interface Summary {
  durationMs: number;
  peakViewers: number;
  totalViewers: number;
  coins: number;
  likes: number;
  messages: number;
  guests: number;
}

export interface State {
  readonly room: {
    id: string;
    title: string;
    state: RoomStateName;
    reasons: ("break" | "host_lost")[];
    until?: number | null;
    startedAt?: number;
    host: Person;
    policy: Record<string, unknown>;
    endReason?: string;
  };
  /** Always 10 places, by seat number. */
  readonly seats: readonly Seat[];
  readonly viewers: { now: number; total: number };
  readonly you: Person & { role: string; staff: boolean; perms: string[]; guest: Guest | null; muteUntil?: number };
  /** The latest messages, oldest first. */
  readonly chat: readonly ChatMessage[];
  readonly staff: Staff | null;
  readonly wallet: { coins: number; promo?: number; diamonds?: number } | null;
  readonly likes: number;
  /** Seats that speak; the first is the dominant speaker, if it is among them. */
  readonly speaking: readonly number[];
  readonly summary: Summary | null;
}

export interface Gift {
  id: string;
  name: string;
  coins: number;
  kind: "combo" | "single";
  tier: "small" | "medium" | "large" | "legendary";
  effect: string;
}

export interface GiftReceipt {
  transferId: string;
  balance: number;
  comboId: string;
  comboTotal: number;
}

/** A gift combo as it is now; `added` is what is new since it was last told. */
export interface GiftNews {
  comboId: string;
  giftId: string;
  n: number;
  added: number;
  end: boolean;
  from: { name: string; user?: string; level?: number };
  to: { seat: number; user?: string };
}

export class Refusal extends Error {
  readonly code: string;
  readonly retryAfterMs: number;
  readonly details: Record<string, unknown>;
}

export interface Events {
  /** Anything in `state` changed. */
  state: { state: State; previous: State | null };
  connection: { connection: Connection; refusal: Refusal | null };
  /** The browser wants a gesture before it plays sound: call `unlockAudio()` from a click. */
  soundBlocked: boolean;
  /** A seat attached with `attach` showed its first frame. */
  firstFrame: number;
  track: number;
  gift: GiftNews;
  resumeToken: string | null;
  bye: { reason: string; retry: boolean };
  publishState: RTCPeerConnectionState;
  publishError: unknown;
  error: unknown;
  /** Every event of the protocol under its own name. */
  [type: string]: any;
}

export interface ClientOptions {
  room: string;
  /** A token, or where to get one; asked with `true` when the last one was refused. */
  token: string | ((again: boolean) => Promise<string>);
  /** Default: `/ws` of this page's server. */
  url?: string;
  /** Guest seats in the first offer; default: those on air plus two. */
  maxSeats?: number;
  /**
   * Hear only the loudest so many seats, 1 to 9, the host always among them: saves data where many talk. Whoever begins to speak is heard
   * from the second packet on. Default: everybody.
   */
  audioTop?: number;
  dataChannels?: boolean;
  /** Keep knocking while the room does not exist yet. */
  waitForRoom?: boolean;
  /** From an earlier `resumeToken` event: take the seat back. */
  resumeToken?: string | null;
}

export interface PublishHealth {
  /** Since the last reading of this connection; `null` at the first. */
  kbps: number | null;
  fps: number;
  width: number;
  height: number;
  rttMs: number | null;
  limitedBy: string;
}

export interface Publishing {
  readonly seat: number;
  readonly active: boolean;
  readonly stream: MediaStream | null;
  /** Send this stream; `seat` is the one that was granted, 0 for the host. */
  start(stream: MediaStream, seat?: number, how?: { simulcast?: boolean }): Promise<void>;
  mute(kind: Kind, on: boolean): Promise<void>;
  replaceTrack(track: MediaStreamTrack): Promise<void>;
  stats(): Promise<PublishHealth | null>;
  stop(): void;
}

export class GreenroomClient {
  constructor(options: ClientOptions);
  readonly connection: Connection;
  readonly state: State | null;
  readonly publishing: Publishing;
  on<K extends keyof Events>(type: K, listener: (detail: Events[K]) => void): () => void;
  connect(): Promise<State>;
  close(): void;
  request(type: string, data?: object, timeoutMs?: number): Promise<any>;
  serverNow(): number;
  /**
   * Show a seat. The server is told how large the element shows it (in device pixels, at most two per CSS pixel) and sends no more than
   * that needs, and everything to an element that takes the size of its picture. A seat whose elements are all out of sight, or whose page
   * is hidden, is sent no video after two seconds. Sound goes on.
   */
  attach(seat: number, element: HTMLVideoElement): void;
  detach(element: HTMLVideoElement): void;
  readonly audioOnly: boolean;
  /** Listen only, to save data: no video of any seat is sent. `false` = see again. */
  setAudioOnly(on: boolean): void;
  unlockAudio(): void;
  chat(text: string): Promise<{ n: number }>;
  chatHistory(page?: { before?: number; limit?: number }): Promise<{ msgs: ChatMessage[] }>;
  giftCatalogue(): Promise<{ version: number; gifts: Gift[] }>;
  sendGift(gift: { giftId: string; price: number; count?: number; to: string | number; key?: string }): Promise<GiftReceipt>;
  wallet(): Promise<{ coins: number; promo: number; diamonds?: number }>;
  like(): void;
  setResumeToken(token: string | null): void;

  readonly room: {
    start(title?: string): Promise<{}>;
    pause(untilMs?: number): Promise<{}>;
    resume(): Promise<{}>;
    end(): Promise<{}>;
    update(changes: { title?: string; guest?: Record<string, unknown> }): Promise<{}>;
    members(): Promise<{ members: Staff["members"] }>;
    acceptRules(version: string): Promise<{}>;
  };
  readonly guests: {
    request(media: GuestMedia, note?: string): Promise<{ guestId: string; expiresAt?: number; seat?: number }>;
    cancel(guestId: string): Promise<{}>;
    accept(guestId: string, media: GuestMedia): Promise<{ guestId: string; seat: number; resumeToken: string; airAt: number }>;
    decline(guestId: string): Promise<{}>;
    leave(): Promise<{}>;
    requestUnmute(kinds: Kind[]): Promise<{}>;
    invite(user: string, options?: { seat?: number; media?: GuestMedia; message?: string }): Promise<{ guestId: string; expiresAt: number }>;
    revoke(guestId: string): Promise<{}>;
    approve(guestId: string): Promise<{ seat: number }>;
    deny(guestId: string): Promise<{}>;
    goLive(guestId: string): Promise<{}>;
    backstage(guestId: string): Promise<{}>;
    remove(guestId: string): Promise<{}>;
    removeAll(): Promise<{}>;
    mute(guestId: string, kinds: Kind[], hard?: boolean): Promise<{}>;
    allowUnmute(guestId: string, kinds: Kind[]): Promise<{}>;
    list(): Promise<Pick<Staff, "queue" | "invited" | "seats">>;
  };
  readonly moderation: {
    mute(user: string, ms: number): Promise<{}>;
    unmute(user: string): Promise<{}>;
    kick(user: string): Promise<{}>;
    ban(user: string, ms?: number | null): Promise<{}>;
    unban(user: string): Promise<{}>;
  };
}

export interface Rect {
  x: number;
  y: number;
  w: number;
  h: number;
}

/** Rectangles for `n` tiles in a box, the host first. */
export function layout(n: number, w: number, h: number, gap?: number): Rect[];
/** A fresh idempotency key. */
export function newKey(): string;
/** Note the first time something happened; also a `performance.mark`. */
export function mark(name: string): void;
/** Milliseconds since the SDK's first line ran; also `window.greenroomTimings`. */
export const timings: Record<string, number>;
export const SCREEN_SEAT: 9;
