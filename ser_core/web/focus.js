// Keeps the focus near where it was: Gradio replaces or deactivates elements that have it, and a
// browser would then put it on the body, from where a keyboard starts at the top of the page.
(() => {
  const CONTROLS = "a[href], button, input, select, textarea, summary, [tabindex='0']";
  const isUsable = (one) => one.isConnected && one.checkVisibility({ visibilityProperty: true }) && !one.disabled;
  const kind = (one) => `${one.tagName} ${[...one.classList].filter((name) => name.startsWith("mm-"))}`;
  let path = []; // the element that has the focus, or lost it with no doing of the visitor, and its ancestors
  let isDue = false;

  addEventListener("focusin", (event) => {
    path = event.composedPath().filter((one) => one instanceof Element);
  });

  addEventListener("focusout", ({ target }) => {
    setTimeout(() => {
      if (target === path[0] && isUsable(target)) path = []; // a click beside all controls
    });
  });

  /** Focus the element that took the place of the last one, or the first control near it. */
  function restore() {
    isDue = false;
    const [lost, ...around] = path;
    if (!lost || isUsable(lost) || document.activeElement !== document.body) return;
    for (const place of around) {
      if (place === document.body) return;
      if (!isUsable(place)) continue;
      const same = [...place.querySelectorAll(lost.tagName)].find((one) => isUsable(one) && kind(one) === kind(lost));
      const found = same ?? [...place.querySelectorAll(CONTROLS)].find(isUsable);
      if (!found) continue;
      if (!found.matches(CONTROLS)) found.tabIndex = -1; // a headline
      found.focus({ preventScroll: true });
      return;
    }
  }

  new MutationObserver(() => {
    if (isDue || !path.length) return;
    isDue = true;
    requestAnimationFrame(() => requestAnimationFrame(restore)); // the browser moves it once a frame
  }).observe(document.documentElement, {
    attributeFilter: ["class", "disabled", "hidden", "style"],
    childList: true,
    subtree: true,
  });
})();
