// SPDX-License-Identifier: GPL-3.0-or-later
// The page of boards: calls their functions, and follows boards that come and go. What boards say - names,
// answers, messages - is put on the page as text (textContent) and in no other way; the page's
// Content-Security-Policy would not let markup be made of it either.
"use strict";
(() => {
  const BASE = "/.sallyport/pico/", OPEN_BOARDS = 8, RETRY_MAX_MS = 60000;
  const $ = (id) => document.getElementById(id);
  const list = $("boards"), boards = new Map();
  let signedOut = false;

  // --- text

  // Controls are shown, not obeyed: those of a terminal, and those that turn the direction of writing.
  const visible = (text) => text.replace(/[\0-\x08\x0b-\x1f]/g, (c) => String.fromCharCode(0x2400 + c.charCodeAt(0)))
    .replace(/[\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]/g, "\ufffd");

  function element(tag, className, text) {
    const e = document.createElement(tag);
    if (className) e.className = className;
    if (text !== undefined) e.textContent = visible(text);
    return e;
  }

  function input(className, label, placeholder) {
    const e = element("input", className);
    Object.assign(e, { type: "text", placeholder, autocomplete: "off", spellcheck: false, enterKeyHint: "send" });
    e.setAttribute("autocapitalize", "off");
    e.setAttribute("aria-label", visible(label));
    return e;
  }

  const time = (ms) => ms < 1000 ? `${Math.max(1, Math.round(ms))} ms` : `${(ms / 1000).toFixed(1)} s`;

  // --- arguments: JSON as it was typed, so that a number of twenty digits arrives as one

  function parses(text) {
    try {
      return JSON.parse(text);
    } catch {
      return undefined;
    }
  }

  // Telephones like to type “text” where "text" is meant.
  const straight = (text) => parses(text) === undefined ? text.replace(/[“”„]/g, '"') : text;

  function argumentsOf(text) {
    const json = straight(`[${text}]`);
    return Array.isArray(parses(json)) ? json : undefined;
  }

  function namedArgumentsOf(text) {
    const json = straight(text.trim().startsWith("{") ? text : `{${text}}`), value = parses(json);
    return value && typeof value === "object" && !Array.isArray(value) ? json : undefined;
  }

  // --- answers

  // Numbers as they were sent, where the browser can keep them.
  const keepNumber = (key, value, context) =>
    typeof value === "number" && context && JSON.rawJSON ? JSON.rawJSON(context.source) : value;

  function readAnswer(text) {
    try {
      const value = JSON.parse(text, keepNumber);
      return value && typeof value === "object" ? value : {};
    } catch {
      return {};
    }
  }

  function kindOf(value) {
    if (value === null) return "Nothing";
    if (Array.isArray(value)) return "List";
    if (typeof value === "object") return JSON.isRawJSON && JSON.isRawJSON(value) ? "Number" : "Object";
    return { string: "Text", number: "Number", boolean: "Yes or no" }[typeof value];
  }

  function outcome(good, title, meta) {
    const box = element("div", good ? "outcome good" : "outcome bad"), head = element("p", "outcome-head");
    head.append(element("strong", "", title), element("span", "", meta));
    box.append(head);
    return box;
  }

  function showValue(box, text) {
    const value = element("pre", "value", text);
    value.dir = "auto";
    box.append(value);
  }

  function resultBox(result, took) {
    const box = outcome(true, "Answer", `${kindOf(result)}, ${took}`);
    if (result === "") box.append(element("p", "", "An empty text."));
    else if (result === null) box.append(element("p", "", "The function is done and gave nothing back."));
    else showValue(box, typeof result === "string" ? result : JSON.stringify(result, null, 2));
    return box;
  }

  function signInLink() {
    const link = element("a", "", "Please sign in again");
    Object.assign(link, { href: BASE, target: "_blank", rel: "noopener" }); // this page keeps what was typed
    return link;
  }

  const TITLES = {
    400: "Not understood", 403: "Not allowed", 404: "Not there", 413: "Too large", 429: "Too many calls", 502: "No answer",
    503: "Not now", 504: "No answer in time",
  };

  function errorBox(status, answer, took) {
    const error = answer.error && typeof answer.error === "object" ? answer.error : answer;
    const message = typeof error.message === "string" ? error.message : "";
    if (status === 401) {
      const box = outcome(false, "Signed out", took), sentence = element("p", "", "Your login has ended. ");
      sentence.append(signInLink());
      box.append(sentence);
      return box;
    }
    // The board's own words, and not the gateway's.
    const raised = status === 500 && error !== answer;
    const box = outcome(false, raised ? "The function failed" : TITLES[status] || "No answer", took);
    if (raised) showValue(box, message || "It gave no reason.");
    else if (status === 403) box.append(element("p", "", "You may not call this function."));
    else box.append(element("p", "", message || `The gateway's answer cannot be read (status ${status}).`));
    if (raised && typeof error.type === "string" && error.type !== "pico.function") box.append(element("p", "small", error.type));
    return box;
  }

  function brokenBox(took) {
    const box = outcome(false, "Connection lost", took);
    box.append(element("p", "", "The gateway cannot be reached. Nobody knows whether the board was called: look before you call again."));
    return box;
  }

  // --- a function and its form

  class Fn {
    constructor(board, name, item) {
      Object.assign(this, { board, name, item: item || element("li", "function"), running: false, online: false });
      if (!item) {
        this.item.append(element("div", "name"));
        this.item.firstChild.append(element("bdi"));
      }
      this.item.querySelector("bdi").textContent = visible(name);
    }

    // Once somebody can see it: a form for each of thousands of functions would make a page slow.
    build() {
      if (this.form) return;
      const what = `${this.name} of ${this.board.name}`;
      this.form = element("form", "call");
      this.args = input("args", `Arguments of ${what}`, '21, "text"');
      this.kwargs = input("kwargs", `Keyword arguments of ${what}`, '{"name": 1}');
      this.button = element("button", "button");
      this.answer = element("div", "answer");
      this.answer.setAttribute("aria-live", "polite");
      const line = element("div", "line"), brackets = element("div", "brackets"), more = element("details", "named");
      brackets.append(this.args);
      line.append(brackets, this.button);
      more.append(element("summary", "", "Keyword arguments"), this.kwargs);
      this.form.append(line, more);
      this.form.addEventListener("submit", (e) => {
        e.preventDefault();
        this.call();
      });
      for (const field of [this.args, this.kwargs]) field.addEventListener("input", () => field.removeAttribute("aria-invalid"));
      this.item.append(this.form, this.answer);
      this.refresh();
    }

    refresh() {
      this.item.classList.toggle("off", !this.online);
      if (!this.form) return;
      const text = this.running ? "Calling\u2026" : "Call";
      this.button.textContent = text;
      this.button.setAttribute("aria-label", visible(`${text} ${this.name} of ${this.board.name}`));
      // Not `disabled`: that would take the focus away from who has just pressed it.
      this.button.setAttribute("aria-disabled", String(this.running));
      this.item.classList.toggle("running", this.running);
      this.answer.setAttribute("aria-busy", String(this.running));
    }

    set(online) {
      this.online = online;
      this.refresh();
    }

    inUse() {
      const typed = this.form && (this.args.value || this.kwargs.value || this.answer.firstChild);
      return this.running || Boolean(typed) || this.item.contains(document.activeElement);
    }

    show(box) {
      this.answer.replaceChildren(box);
      const value = box.querySelector(".value");
      if (value && value.scrollHeight > value.clientHeight) value.tabIndex = 0; // so that keys can scroll it
    }

    refuse(field, sentence) {
      const box = outcome(false, "Not called", "");
      box.append(element("p", "", sentence));
      this.show(box);
      field.setAttribute("aria-invalid", "true");
      field.closest("details:not([open])")?.setAttribute("open", "");
      field.focus();
    }

    body() {
      const args = argumentsOf(this.args.value), kwargs = namedArgumentsOf(this.kwargs.value);
      if (!args) this.refuse(this.args, 'Arguments are JSON with commas between them: 21, "text", [1, 2], true, null. Texts stand in double quotes.');
      else if (!kwargs) this.refuse(this.kwargs, 'Keyword arguments are a JSON object: {"name": 1, "other": "text"}.');
      return args && kwargs ? `{"args":${args},"kwargs":${kwargs}}` : undefined;
    }

    // A board that was offline a moment ago may be back: the gateway knows better than this page.
    async call() {
      if (this.running) return;
      const body = this.body();
      if (!body) return;
      this.running = true;
      this.refresh();
      this.show(await this.ask(body));
      this.running = false;
      this.refresh();
    }

    async ask(body) {
      const started = performance.now(), took = () => time(performance.now() - started);
      try {
        const url = BASE + encodeURIComponent(this.board.name) + "/" + encodeURIComponent(this.name);
        const response = await fetch(url, { method: "POST", headers: { "Content-Type": "application/json" }, body, redirect: "error" });
        const answer = readAnswer(await response.text());
        if (response.status === 401) stream.signedOut();
        return response.ok && "result" in answer ? resultBox(answer.result, took()) : errorBox(response.status, answer, took());
      } catch {
        return brokenBox(took());
      }
    }
  }

  // --- a board

  class Board {
    constructor(name, item, open) {
      Object.assign(this, { name, item: item || Board.make(open), functions: new Map(), online: false });
      this.details = this.item.querySelector("details");
      this.list = this.item.querySelector(".functions");
      this.item.querySelector("bdi").textContent = visible(name);
      this.details.addEventListener("toggle", () => this.build());
      for (const li of [...this.list.children]) this.adopt(li);
      this.build();
    }

    static make(open) {
      const item = element("li", "board"), details = element("details"), summary = element("summary"), h2 = element("h2");
      h2.append(element("bdi"));
      summary.append(h2, element("span", "state"));
      details.append(summary, element("ul", "functions"));
      details.open = open;
      item.append(details);
      return item;
    }

    // What the page had before the script.
    adopt(li) {
      const name = li.querySelector("bdi").textContent, fn = new Fn(this, name, li);
      fn.set(this.item.querySelector(".state").classList.contains("on"));
      this.functions.set(name, fn);
    }

    build() {
      if (this.details.open) for (const fn of this.functions.values()) fn.build();
    }

    set(online, state) {
      const e = this.item.querySelector(".state");
      this.online = online;
      e.textContent = state;
      e.classList.toggle("on", online);
    }

    update(offered) {
      this.set(offered.online, offered.online ? "Online" : "Offline");
      merge(this.list, this.functions, offered.functions, (f) => new Fn(this, f.name), (fn, f) => fn.set(f.online));
      this.build();
    }

    // No longer among those that may be called.
    vanish() {
      this.set(false, "Not available any more");
      for (const fn of this.functions.values()) fn.set(false);
    }

    inUse() {
      return [...this.functions.values()].some((fn) => fn.inUse());
    }
  }

  Fn.prototype.vanish = function () {
    this.set(false);
  };

  // Makes `parent` show what is offered, in its order. What is there already stays where it is, with focus and
  // what was typed; what is gone is taken away unless somebody is at work there.
  function merge(parent, known, offered, make, update) {
    const names = new Set(offered.map((o) => o.name));
    for (const [name, k] of [...known]) {
      if (names.has(name)) continue;
      if (k.inUse()) {
        k.vanish();
        continue;
      }
      k.item.remove();
      known.delete(name);
    }
    let at = parent.firstElementChild;
    const stays = new Set([...known].filter(([name]) => !names.has(name)).map(([, k]) => k.item));
    for (const o of offered) {
      while (at && stays.has(at)) at = at.nextElementSibling;
      const k = known.get(o.name) || make(o);
      known.set(o.name, k);
      if (k.item === at) at = at.nextElementSibling;
      else parent.insertBefore(k.item, at);
      update(k, o);
    }
  }

  // --- all of them

  function find() {
    const text = $("find-text").value.trim().toLowerCase(), has = (name) => name.toLowerCase().includes(text);
    let shown = 0;
    for (const board of boards.values()) {
      const whole = has(board.name);
      let any = whole;
      for (const fn of board.functions.values()) {
        fn.item.hidden = !whole && !has(fn.name);
        any ||= !fn.item.hidden;
      }
      board.item.hidden = !any;
      if (any && text && ++shown <= OPEN_BOARDS) board.details.open = true;
    }
    $("nothing").hidden = !boards.size || [...boards.values()].some((b) => !b.item.hidden);
  }

  function showBoards(offered) {
    const open = offered.boards.length <= OPEN_BOARDS;
    merge(list, boards, offered.boards, (b) => new Board(b.name, null, open), (board, b) => board.update(b));
    $("none").hidden = boards.size > 0;
    $("lead").hidden = boards.size === 0;
    $("more").hidden = !offered.more;
    $("find").hidden = boards.size <= OPEN_BOARDS && !$("find-text").value;
    find();
  }

  // --- the event stream

  const stream = {
    source: null, failures: 0, timer: 0,

    say(state, text, link) {
      const e = $("live");
      if (e.dataset.state === state) return; // said once, to those who listen
      e.dataset.state = state;
      e.replaceChildren(element("span", "", text));
      if (link) e.append(" ", link);
    },

    open() {
      clearTimeout(this.timer);
      if (this.source) this.source.close();
      const source = this.source = new EventSource(BASE + "events");
      source.addEventListener("boards", (e) => {
        this.failures = 0;
        signedOut = false;
        this.say("live", "Live");
        const offered = parses(e.data);
        if (offered) showBoards(offered);
      });
      // The browser tries again by itself unless the gateway has refused.
      source.addEventListener("error", () => {
        this.say("lost", "Connection lost. Trying again\u2026");
        if (source.readyState === EventSource.CLOSED) this.refused();
      });
    },

    async refused() {
      try {
        const response = await fetch(BASE, { headers: { Accept: "application/json" }, cache: "no-store", redirect: "error" });
        if (response.status === 401) {
          this.signedOut();
          return;
        }
        if (response.ok) showBoards(await response.json());
      } catch {
        // as lost as before
      }
      const ms = Math.min(RETRY_MAX_MS, 2000 * 2 ** this.failures++);
      this.timer = setTimeout(() => this.open(), ms * (0.5 + Math.random() / 2));
    },

    signedOut() {
      signedOut = true;
      clearTimeout(this.timer);
      this.source.close();
      this.say("out", "Signed out.", signInLink());
    },
  };

  function adoptPage() {
    for (const item of [...list.children]) {
      const name = item.querySelector("bdi").textContent;
      boards.set(name, new Board(name, item));
    }
    $("find").hidden = boards.size <= OPEN_BOARDS;
    $("find-text").addEventListener("input", find);
    // Back from signing in in another tab.
    document.addEventListener("visibilitychange", () => {
      if (signedOut && !document.hidden) stream.open();
    });
  }

  adoptPage();
  stream.say("wait", "Connecting\u2026");
  stream.open();
})();
