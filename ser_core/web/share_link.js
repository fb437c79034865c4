(clip, model, denoise) => {
  const link = new URL(location.origin + location.pathname);
  const name = clip ? clip.orig_name || clip.path || "" : "";
  const example = /synthetic-([a-z]+)\.(flac|wav)$/.exec(name);
  if (example) link.searchParams.set("example", example[1]);
  if (model !== "auto") link.searchParams.set("model", model);
  if (denoise) link.searchParams.set("denoise", "1");
  const text = document.createElement("p");
  text.className = "mm-small";
  const anchor = document.createElement("a");
  anchor.href = anchor.textContent = link.href;
  text.append(anchor);
  if (navigator.clipboard) navigator.clipboard.writeText(link.href).catch(() => {});
  return text.outerHTML;
}
