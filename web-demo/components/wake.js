/** Keep the screen on during a show; the lock is lost in the background and taken again after. */
export function keepAwake() {
  const take = () => document.visibilityState === "visible" && navigator.wakeLock?.request("screen").catch(() => {});
  document.addEventListener("visibilitychange", take);
  take();
}
