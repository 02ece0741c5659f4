// The page of who speaks: choose a microphone or a file, start a session, see captions and lag, hear the dub.

import { Captions } from "./captions.js";
import { LagGraph } from "./lag_graph.js";
import { LevelMeter } from "./level_meter.js";
import { Peer } from "./peer.js";
import { Account, Refused } from "./server.js";

const SESSIONS = "/api/v1/live/sessions";
const LOG_IN_AGAIN = 401;
const $ = (id) => document.getElementById(id);
const names = new Intl.DisplayNames([document.documentElement.lang], { type: "language" });
const account = new Account();
const captions = new Captions($("captions"));
const lag = new LagGraph($("lag-graph"), $("lag"));
const levels = { in: new LevelMeter($("level-in")), out: new LevelMeter($("level-out")) };
let running = null;

function say(text, wrong = false) {
  $("status").textContent = text;
  $("status").classList.toggle("wrong", wrong);
}

function failed(error) {
  if (error instanceof Refused && error.status === LOG_IN_AGAIN) {
    account.forget();
    show("log-in");
  }
  say(error.message, true);
}

function show(step) {
  $("log-in").hidden = step !== "log-in";
  $("set-up").hidden = step === "log-in";
}

function option(value, text) {
  return Object.assign(document.createElement("option"), { value, textContent: text });
}

async function setUp() {
  const { targets } = await account.ask("GET", "/api/v1/languages");
  const form = $("set-up");
  const sources = [...new Set(targets.flatMap((target) => target.sources))].sort();
  form.source.replaceChildren(option("", "find out"), ...sources.map((tag) => option(tag, names.of(tag))));
  $("targets").replaceChildren(...targets.map((target) => choice(target.language)));
  await listInputs();
  show("set-up");
}

function choice(language) {
  const label = document.createElement("label");
  const box = Object.assign(document.createElement("input"), { type: "checkbox", name: "target", value: language });
  label.append(box, names.of(language));
  return label;
}

async function listInputs() {
  const devices = (await navigator.mediaDevices?.enumerateDevices()) ?? [];
  const microphones = devices.filter((device) => device.kind === "audioinput");
  const shown = microphones.map((device, i) => option(device.deviceId || "default", device.label || `Microphone ${i + 1}`));
  $("set-up").input.replaceChildren(...shown, option("file", "a file…"));
  $("file-row").hidden = microphones.length > 0;
}

async function openInput(form, context) {
  if (form.input.value !== "file") {
    const audio = { deviceId: form.input.value, echoCancellation: true, noiseSuppression: true, autoGainControl: true };
    return { stream: await navigator.mediaDevices.getUserMedia({ audio }), play: () => {} };
  }
  const [file] = form.file.files;
  if (!file) throw new Error("Choose a file first.");
  const player = new Audio(URL.createObjectURL(file));
  const destination = context.createMediaStreamDestination();
  context.createMediaElementSource(player).connect(destination);
  return { stream: destination.stream, play: () => player.play(), player };
}

async function start(form) {
  const chosen = [...form.querySelectorAll("[name=target]:checked")].map((box) => box.value);
  if (!chosen.length) throw new Error("Choose at least one language to be heard in.");
  const context = new AudioContext();
  const input = await openInput(form, context);
  const session = await account.ask("POST", SESSIONS, {
    source: form.source.value || null,
    targets: chosen.map((language) => ({ language })),
    latency: form.latency.value,
    original: form.original.value,
    record: form.record.checked,
  });
  running = { session, context, input, hearing: null };
  showSession(session, chosen);
  levels.in.watch(input.stream, context);
  const add = (connection) => {
    for (const track of input.stream.getAudioTracks()) connection.addTrack(track, input.stream);
  };
  running.speaking = new Peer(session.whip_url, session.token, session.ice_servers, add, spokenState);
  await running.speaking.open();
  await input.play();
  follow(running, 0);
}

function spokenState(state, error) {
  const told = { connected: "You are live", disconnected: "Connection lost, trying again…", failed: "Connection lost, trying again…" };
  say(told[state] ?? error?.message ?? state, state !== "connected" && state !== "connecting");
  if (state === "ended") stop();
}

function showSession(session, languages) {
  $("live").hidden = false;
  $("stop").hidden = false;
  $("start").disabled = true;
  $("captions").replaceChildren();
  $("hear").replaceChildren(option("", "nothing"), ...languages.map((tag) => option(tag, names.of(tag))));
  $("links").replaceChildren(...languages.map((language) => listenerLink(session, language)));
}

function listenerLink(session, language) {
  const parts = new URLSearchParams({ url: session.whep_urls[language], token: session.listen_token, language });
  const link = Object.assign(document.createElement("a"), { href: `/live/listen#${parts}`, target: "_blank" });
  link.textContent = names.of(language);
  const item = document.createElement("li");
  item.append(link);
  return item;
}

// Records come in order; after a lost connection those after the last one seen.
function follow(run, after) {
  const url = new URL(run.session.events_url, location.href);
  url.protocol = url.protocol.replace("http", "ws");
  url.searchParams.set("after", after);
  url.searchParams.set("token", run.session.token);
  const socket = new WebSocket(url);
  run.socket = socket;
  socket.addEventListener("message", (message) => {
    const record = JSON.parse(message.data);
    after = record.seq;
    happened(record.event);
  });
  socket.addEventListener("close", () => {
    if (running === run) setTimeout(() => running === run && follow(run, after), 1000);
  });
}

function happened(event) {
  if (event.type === "caption") {
    captions.show(event, (event.source ? "Said: " : "Heard: ") + names.of(event.language));
  } else if (event.type === "phrase_spoken") {
    lag.add(event.ear_voice_span_s);
  } else if (event.type === "phrases_dropped") {
    $("dropped").textContent = `${event.total} phrases were left out to keep up.`;
  } else if (event.type === "troubled") {
    say(event.message, true);
  } else if (event.type === "session_ended") {
    stop(`The session is over: ${event.reason}`);
  }
}

async function hear(language) {
  await running.hearing?.close();
  levels.out.stop();
  running.hearing = null;
  if (!language) return;
  const { session, context } = running;
  const prepare = (connection) => {
    connection.addTransceiver("audio", { direction: "recvonly" });
    connection.addEventListener("track", ({ track }) => {
      const stream = new MediaStream([track]);
      $("dub").srcObject = stream;
      levels.out.watch(stream, context);
    });
  };
  running.hearing = new Peer(session.whep_urls[language], session.token, session.ice_servers, prepare, () => {});
  await running.hearing.open();
}

async function stop(why = "Stopped") {
  const run = running;
  if (!run) return;
  running = null;
  $("stop").hidden = true;
  $("start").disabled = false;
  for (const meter of Object.values(levels)) meter.stop();
  run.socket?.close();
  run.input.player?.pause();
  for (const track of run.input.stream.getTracks()) track.stop();
  await Promise.allSettled([run.speaking?.close(), run.hearing?.close()]);
  await account.ask("DELETE", `${SESSIONS}/${run.session.id}`).catch(() => null);
  await run.context.close();
  say(why);
}

$("log-in").addEventListener("submit", (event) => {
  event.preventDefault();
  const form = event.target;
  account.enter(form.email.value, form.password.value, event.submitter?.name === "sign-up").then(setUp).then(() => say("Ready")).catch(failed);
});
$("set-up").addEventListener("submit", (event) => {
  event.preventDefault();
  say("Starting…");
  start(event.target).catch((error) => stop().then(() => failed(error)));
});
$("set-up").input.addEventListener("change", (event) => {
  $("file-row").hidden = event.target.value !== "file";
});
$("stop").addEventListener("click", () => stop());
$("hear").addEventListener("change", (event) => hear(event.target.value).catch(failed));
addEventListener("pagehide", () => running?.speaking?.close());

if (account.known) setUp().catch(failed);
