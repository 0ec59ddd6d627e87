/** The Greenroom SDK: one import for a page. Types are in greenroom.d.ts. */
export { GreenroomClient } from "./client.js";
export { newKey } from "./gifts.js";
export { layout } from "./layout.js";
export { Refusal } from "./refusal.js";
export { mark, timings } from "./timings.js";
export { SCREEN_SEAT } from "./watch.js";
