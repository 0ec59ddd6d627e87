import { notice } from "./notices.js";

/** Share with the system's sheet, or copy. @param {string} url @param {string} title */
export async function share(url, title) {
  if (navigator.share && matchMedia("(pointer: coarse)").matches) {
    await navigator.share({ url, title }).catch(() => {});
    return;
  }
  try {
    await navigator.clipboard.writeText(url);
    notice("Link copied.");
  } catch {
    notice(url);
  }
}

/** @param {string} room */
export const roomUrl = (room) => `${location.origin}/r/${encodeURIComponent(room)}`;
