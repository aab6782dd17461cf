// Keeps a page up to date: the server sends parts of it, whole and as they now are, and each takes the place of the element
// with its id. Without this script every page can be read, and is as new as when it was opened.
"use strict";

(() => {
  const live = document.getElementById("live");
  const announce = document.getElementById("announce");
  const waiting = new Map(); // parts that the reader is using just now, by id

  // Times are written in the reader's zone, and those that are relative as what they are from now.
  const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
  const dated = new Intl.DateTimeFormat(undefined, { month: "short", day: "numeric", hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
  const span = (s) => {
    if (s < 100) return `${Math.round(s)} s`;
    if (s < 100 * 60) return `${Math.round(s / 60)} min`;
    if (s < 48 * 3600) return `${Math.round(s / 3600)} h`;
    return `${Math.round(s / 86400)} days`;
  };
  const write = (time, now) => {
    const at = Date.parse(time.dateTime);
    if (Number.isNaN(at)) return;
    const past = (now - at) / 1000;
    let text;
    if (time.dataset.relative) {
      text = past >= 0 ? (past < 1 ? "just now" : `${span(past)} ago`) : `in ${span(-past)}`;
    } else {
      text = new Date(at).toDateString() === new Date(now).toDateString() ? clock.format(at) : dated.format(at);
    }
    if (!time.title) time.title = new Date(at).toLocaleString();
    if (time.textContent !== text) time.textContent = text;
  };
  const writeTimes = (root) => {
    const now = Date.now();
    for (const time of root.querySelectorAll("time[datetime]")) write(time, now);
  };
  writeTimes(document);
  setInterval(() => {
    const now = Date.now();
    for (const time of document.querySelectorAll("time[data-relative]")) write(time, now);
  }, 1000);

  // inUse reports whether a part must stay as it is for now: somebody types in it, or has marked text of it.
  const inUse = (part) => {
    const active = document.activeElement;
    if (active && part.contains(active) && active.matches("input, textarea, select")) return true;
    const marked = document.getSelection();
    return Boolean(marked && !marked.isCollapsed && marked.rangeCount && marked.getRangeAt(0).intersectsNode(part));
  };

  // place names what has the focus, so that it can be found again in the new part.
  const place = (element) => {
    if (element.id) return `#${CSS.escape(element.id)}`;
    const href = element.getAttribute("href");
    if (href) return `a[href="${CSS.escape(href)}"]`;
    const details = element.closest("details[id]");
    if (details && element.matches("summary")) return `#${CSS.escape(details.id)} > summary`;
    const name = element.getAttribute("aria-label") || element.getAttribute("aria-labelledby");
    if (name) return `[aria-label="${CSS.escape(name)}"], [aria-labelledby="${CSS.escape(name)}"]`;
    return "";
  };

  const swap = (html) => {
    const box = document.createElement("template");
    box.innerHTML = html;
    const next = box.content.firstElementChild;
    const old = next && document.getElementById(next.id);
    if (!old) return;
    if (old.dataset.keep !== undefined && old.dataset.keep === next.dataset.keep) return; // a player goes on playing
    if (inUse(old)) {
      waiting.set(next.id, html);
      return;
    }
    waiting.delete(next.id);
    for (const details of old.querySelectorAll("details[id]")) {
      const same = next.querySelector(`#${CSS.escape(details.id)}`);
      if (same) same.open = details.open;
    }
    const scrolled = [...old.querySelectorAll("pre, .scroll")].map((e) => [e.scrollLeft, e.scrollTop]);
    const active = document.activeElement;
    const focus = active && old.contains(active) ? place(active) : "";
    writeTimes(next);
    old.replaceWith(next);
    next.querySelectorAll("pre, .scroll").forEach((e, i) => {
      if (scrolled[i]) [e.scrollLeft, e.scrollTop] = scrolled[i];
    });
    if (focus) next.querySelector(focus)?.focus({ preventScroll: true });
    const news = next.dataset.announce;
    if (news && news !== old.dataset.announce && announce) announce.textContent = news;
  };

  setInterval(() => {
    for (const html of [...waiting.values()]) swap(html);
  }, 500);

  const show = (text, kind) => {
    if (!live) return;
    if (live.textContent !== text) live.textContent = text;
    live.className = `live ${kind}`;
  };

  if (document.body.dataset.live !== undefined) {
    const address = new URL(location.href);
    address.hash = "";
    address.searchParams.delete("done");
    address.searchParams.set("live", document.body.dataset.live);
    let source;
    const open = () => {
      source = new EventSource(address); // it comes back by itself, with the id of the last event
      source.addEventListener("part", (e) => swap(e.data));
      source.addEventListener("fresh", () => show("live", "ok"));
      source.addEventListener("trouble", (e) => {
        show("no answer", "bad");
        live?.setAttribute("title", e.data);
      });
      source.onerror = () => {
        show("reconnecting", "warn");
        if (source.readyState === EventSource.CLOSED) setTimeout(open, 3000); // signed out, or a proxy's error page
      };
    };
    open();
    addEventListener("pagehide", () => source.close());
    addEventListener("pageshow", (e) => {
      if (e.persisted) open();
    });
  }

  // What an action has done is told once.
  if (new URLSearchParams(location.search).has("done")) {
    const address = new URL(location.href);
    address.searchParams.delete("done");
    history.replaceState(null, "", address);
  }

  // What cannot be taken back is asked about.
  document.addEventListener("submit", (e) => {
    const question = e.submitter?.dataset.confirm;
    if (question && !confirm(question)) e.preventDefault();
  });

  // "/" goes to the search.
  document.addEventListener("keydown", (e) => {
    const typing = e.target instanceof Element && e.target.matches("input, textarea, select");
    if (e.key === "/" && !typing && !e.ctrlKey && !e.metaKey && !e.altKey) {
      const find = document.getElementById("find");
      if (find) {
        e.preventDefault();
        find.focus();
      }
    }
  });
})();
