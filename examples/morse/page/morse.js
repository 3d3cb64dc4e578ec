// SPDX-License-Identifier: GPL-3.0-or-later
// The page of the Morse example. Boards are called at the gateway, on this page's own host: the browser sends the
// session cookie along, the gateway decides who may, and the board does it.
"use strict";

const PICO = "/.sallyport/pico/";
const LED = "/led"; // the simulated board tells here how its LED is; a real one has nothing there
const MORSE = {
  A: ".-", B: "-...", C: "-.-.", D: "-..", E: ".", F: "..-.", G: "--.", H: "....", I: "..", J: ".---", K: "-.-",
  L: ".-..", M: "--", N: "-.", O: "---", P: ".--.", Q: "--.-", R: ".-.", S: "...", T: "-", U: "..-", V: "...-",
  W: ".--", X: "-..-", Y: "-.--", Z: "--..", 0: "-----", 1: ".----", 2: "..---", 3: "...--", 4: "....-", 5: ".....",
  6: "-....", 7: "--...", 8: "---..", 9: "----.", ".": ".-.-.-", ",": "--..--", "?": "..--..", "!": "-.-.--",
  "/": "-..-.", "-": "-....-", "@": ".--.-.", "=": "-...-", "+": ".-.-.", ":": "---...", "'": ".----.",
};
const UNITS = { ".": [1, 1], "-": [3, 1], " ": [0, 2], "/": [0, 2] }; // on, then off

const $ = (id) => document.getElementById(id);
const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

function toMorse(text) {
  const words = text.toUpperCase().split(/\s+/).map((word) => [...word].map((c) => MORSE[c]).filter(Boolean).join(" "));
  return words.filter(Boolean).join(" / ");
}

// --- the LED

let led = null; // the event stream, while it works
let playing = 0; // which drawing is the latest

function light(on) {
  $("board").classList.toggle("lit", on);
  $("led-text").textContent = on ? "The LED is on." : "The LED is off.";
}

function watchLed() {
  const stream = new EventSource(LED);
  let worked = false; // a real board has nothing there: not asked for again
  stream.onopen = () => {
    worked = true;
    led = stream;
  };
  stream.onmessage = (e) => light(JSON.parse(e.data).on);
  stream.onerror = () => {
    led = null;
    light(false);
    if (worked && stream.readyState === EventSource.CLOSED) setTimeout(watchLed, 5000);
  };
}

// What the board said that it would do, when nobody tells what it does.
async function play(answer) {
  const mine = ++playing;
  for (const symbol of answer.morse) {
    const [on, off] = UNITS[symbol];
    if (on) light(true);
    await sleep(on * answer.unit_ms);
    if (mine !== playing || led) return;
    light(false);
    await sleep(off * answer.unit_ms);
    if (mine !== playing || led) return;
  }
}

// --- calls

const SENTENCES = {
  401: "You are not signed in any more. Reload the page.",
  403: "You are not allowed to do that with this board.",
  404: "No board here can do that.",
};

async function call(name, args) {
  let answer;
  try {
    answer = await fetch(PICO + encodeURIComponent($("device").value) + "/" + name, {
      method: "POST",
      headers: { "Content-Type": "application/json", Accept: "application/json" },
      body: JSON.stringify({ args }),
    });
  } catch {
    throw new Error("The gateway cannot be reached.");
  }
  const body = await answer.json().catch(() => ({}));
  if (answer.ok) return body.result;
  // What the function itself raised is for the person who called it; the rest we say ourselves where we can.
  throw new Error(SENTENCES[answer.status] || body.error?.message || "That did not work (" + answer.status + ").");
}

function say(text, kind) {
  $("answer").textContent = text;
  $("answer").className = kind;
}

// Runs a button's work, with its errors shown.
async function attempt(button, work) {
  button.disabled = true;
  say("Asking the board …", "");
  try {
    say(await work(), "good");
  } catch (e) {
    say(e.message, "bad");
  }
  button.disabled = false;
}

const seconds = (ms) => (ms / 1000).toFixed(1) + " s";

async function flash() {
  const answer = await call("flash", [$("text").value, Number($("unit").value)]);
  if (!led) play(answer);
  return "The board flashes for " + seconds(answer.ms) + ". It knows that you are " + answer.who + ".";
}

async function who() {
  const answer = await call("who", []);
  if (!answer.flashing) return "Nobody is flashing. The board knows you as " + answer.you + ".";
  return answer.flashing.who + " is flashing “" + answer.flashing.text + "”. The board knows you as " + answer.you + ".";
}

async function dark() {
  await call("dark", []);
  playing++;
  if (!led) light(false);
  return "The LED is off.";
}

// --- boards

function showBoards(boards) {
  const chosen = $("device").value;
  const options = boards.map((b) => new Option(b.name + (b.online ? "" : " (not connected)"), b.name));
  $("device").replaceChildren(new Option("any that is free", "any"), ...options);
  if (boards.some((b) => b.name === chosen)) $("device").value = chosen;
  const texts = boards.map((b) => b.name + " is " + (b.online ? "connected" : "not connected") + ": you may call "
    + (b.functions.map((f) => f.name).join(", ") || "nothing") + ".");
  $("boards").textContent = texts.join(" ") || "There is no board here that you may use.";
}

function watchBoards() {
  const stream = new EventSource(PICO + "events");
  stream.addEventListener("boards", (e) => showBoards(JSON.parse(e.data).boards));
  stream.onerror = () => {
    if (stream.readyState === EventSource.CLOSED) setTimeout(watchBoards, 10000);
  };
}

const showMorse = () => { $("morse").textContent = toMorse($("text").value); };
$("text").addEventListener("input", showMorse);
$("form").addEventListener("submit", (e) => {
  e.preventDefault();
  attempt($("flash"), flash);
});
$("who").addEventListener("click", () => attempt($("who"), who));
$("dark").addEventListener("click", () => attempt($("dark"), dark));
showMorse();
watchBoards();
watchLed();
