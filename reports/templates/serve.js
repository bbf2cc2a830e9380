"use strict";
const pad = document.getElementById("pad"), pen = pad.getContext("2d");
const note = document.getElementById("note"), results = document.getElementById("results");
const undo = document.getElementById("undo"), clear = document.getElementById("clear");
const greeting = note.textContent;
const WIDTH = 14; // of a stroke, in the pad's own pixels: what remains visible when a network sees 96 pixels
let strokes = [], sheet = null, current = null, asked = 0, shown = 0, timer = 0; // a picture that was sent is a sheet

function paint() {
  pen.fillStyle = "white";
  pen.fillRect(0, 0, pad.width, pad.height);
  if (sheet) {
    const part = Math.min(pad.width / sheet.width, pad.height / sheet.height);
    const width = sheet.width * part, height = sheet.height * part;
    pen.drawImage(sheet, (pad.width - width) / 2, (pad.height - height) / 2, width, height);
  }
  pen.strokeStyle = pen.fillStyle = "black";
  pen.lineWidth = WIDTH;
  pen.lineCap = pen.lineJoin = "round";
  for (const stroke of strokes) {
    pen.beginPath();
    if (stroke.length === 1) {
      pen.arc(stroke[0][0], stroke[0][1], WIDTH / 2, 0, 2 * Math.PI);
      pen.fill();
      continue;
    }
    stroke.forEach(([x, y], n) => (n ? pen.lineTo(x, y) : pen.moveTo(x, y)));
    pen.stroke();
  }
  undo.disabled = !strokes.length;
  clear.disabled = !strokes.length && !sheet;
}
function place(event) {
  const box = pad.getBoundingClientRect();
  return [(event.clientX - box.left) * pad.width / box.width, (event.clientY - box.top) * pad.height / box.height];
}
function say(text, problem) {
  note.textContent = text;
  note.classList.toggle("problem", Boolean(problem));
}
function later(wait) {
  clearTimeout(timer);
  timer = setTimeout(() => pad.toBlob(ask, "image/png"), wait);
}
async function ask(picture) {
  const number = ++asked; // answers may overtake each other: only the newest is shown
  try {
    const answer = await fetch("query", { method: "POST", body: picture });
    const told = await answer.json();
    if (number < shown) return;
    shown = number;
    if (told.error) return say(told.error, true);
    show(told.found);
    say(told.found.length + " photos, found in " + told.seconds + " s.");
  } catch (error) {
    if (number >= shown) say("No answer: is bench serve still running?", true);
  }
}
function show(found) {
  results.replaceChildren(...found.map((each) => {
    const item = document.createElement("li"), figure = document.createElement("figure");
    const image = document.createElement("img"), caption = document.createElement("figcaption");
    image.src = "photo/" + each.position;
    const name = each.instance || each.class_name || each.path.split("/").pop();
    image.alt = "Place " + each.place + ": " + name;
    caption.textContent = name + " " + each.similarity.toFixed(2);
    figure.append(image, caption);
    item.append(figure);
    return item;
  }));
}
function changed(wait) {
  paint();
  if (strokes.length || sheet) return later(wait);
  clearTimeout(timer);
  shown = ++asked;
  results.replaceChildren();
  say(greeting);
}
pad.addEventListener("pointerdown", (event) => {
  if (event.button) return;
  pad.setPointerCapture(event.pointerId);
  current = [place(event)];
  strokes.push(current);
  paint();
});
pad.addEventListener("pointermove", (event) => {
  if (!current) return;
  for (const each of event.getCoalescedEvents ? event.getCoalescedEvents() : [event]) current.push(place(each));
  paint();
});
for (const end of ["pointerup", "pointercancel"]) pad.addEventListener(end, () => {
  if (!current) return;
  current = null;
  changed(60);
});
undo.addEventListener("click", () => { strokes.pop(); changed(0); });
clear.addEventListener("click", () => { strokes = []; sheet = null; changed(0); });
document.getElementById("file").addEventListener("change", async (event) => {
  const [file] = event.target.files;
  event.target.value = "";
  if (!file) return;
  clearTimeout(timer);
  say("Sending " + file.name + " ...");
  ask(file);
  strokes = [];
  sheet = await createImageBitmap(file).catch(() => null); // what is no picture is told by the answer
  paint();
});
paint();
